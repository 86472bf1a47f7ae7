package org.tfcompress.benchmark;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import android.app.Activity;
import android.content.Intent;
import android.widget.TextView;
import java.io.File;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.TimeZone;
import org.junit.Before;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.junit.runners.model.FrameworkMethod;
import org.robolectric.Robolectric;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.annotation.Config;
import org.robolectric.annotation.GraphicsMode;
import org.robolectric.internal.bytecode.InstrumentationConfiguration;
import org.tfcompress.benchmark.core.Backend;
import org.tfcompress.benchmark.core.Folder;
import org.tfcompress.benchmark.core.JsonObject;
import org.tfcompress.benchmark.core.ModelFile;
import org.tfcompress.benchmark.core.Plan;
import org.tfcompress.benchmark.core.Result;
import org.tfcompress.benchmark.core.Run;
import org.tfcompress.benchmark.core.Session;
import org.tfcompress.benchmark.core.Source;

/** The app with TFLite's own Android library and our delegate, on the bundled models. */
@RunWith(RealTest.Runner.class)
@GraphicsMode(GraphicsMode.Mode.NATIVE)
@Config(
    application = RealTest.RealApplication.class,
    sdk = 34,
    qualifiers = "w411dp-h731dp-hdpi")
public class RealTest {
  private static final String[] MODELS = {
    "BUNDLED/digits float32", "BUNDLED/digits int8", "BUNDLED/digits encoded",
    "BUNDLED/digits binary"
  };

  /** One class loader for TFLite, since two cannot load the same library. */
  public static final class Runner extends RobolectricTestRunner {
    public Runner(Class<?> test) throws Exception {
      super(test);
    }

    @Override
    protected InstrumentationConfiguration createClassLoaderConfig(FrameworkMethod method) {
      return new InstrumentationConfiguration.Builder(super.createClassLoaderConfig(method))
          .doNotAcquirePackage("org.tensorflow.lite.")
          .build();
    }
  }

  /** The app itself, with models from a folder as its bundled ones. */
  public static final class RealApplication extends BenchmarkApplication {
    @Override
    Source bundled() {
      return new Folder(new File(System.getProperty("models")));
    }
  }

  @Before
  public void set() {
    Locale.setDefault(Locale.US);
    TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
  }

  private static BenchmarkApplication app() {
    return (BenchmarkApplication) RuntimeEnvironment.getApplication();
  }

  private static File measured(Plan plan, List<ModelFile> models) {
    app()
        .runner()
        .start(app().benchmark(), () -> models, plan, result -> app().history().save(result));
    Robot.finishRun();
    RunState state = app().runner().state();
    assertEquals(state.problem, RunState.Stage.DONE, state.stage);
    return state.file;
  }

  private static File measured(Backend backend) {
    Plan plan = new Plan.Builder().backend(backend).runs(20).seconds(0.1).build();
    List<ModelFile> models = app().models().list().chosen(Arrays.asList(MODELS));
    assertEquals(MODELS.length, models.size());
    return measured(plan, models);
  }

  /** Python's LiteRT runs other kernels: int8 answers may differ by one or two steps of 1/256. */
  private static void assertRight(Run run) {
    assertEquals(run.model.name, "", run.error);
    assertEquals(360, run.agreement.examples);
    assertTrue(run.model.name + " " + run.agreement.sameTop1, run.agreement.sameTop1 >= 359);
    double tolerance = run.model.name.endsWith("int8") ? 2.01 / 256 : 1e-4;
    assertTrue(run.model.name + " " + run.agreement.maxError, run.agreement.maxError <= tolerance);
    assertTrue(run.model.name + " " + run.accuracy.correct, run.accuracy.fraction() > 0.9);
  }

  private static Result read(File file) throws Exception {
    return Result.fromJson(new String(Files.readAllBytes(file.toPath()), "UTF-8"));
  }

  @Test
  public void answersAreThoseOfPython() throws Exception {
    for (Backend backend : new Backend[] {Backend.CPU, Backend.XNNPACK}) {
      Result result = read(measured(backend));
      assertEquals(4, result.runs.size());
      result.runs.forEach(RealTest::assertRight);
    }
  }

  @Test
  public void delegatesTakeTheirOperations() throws Exception {
    List<Run> runs = read(measured(Backend.XNNPACK)).runs;
    for (Run run : runs) {
      assertTrue(run.model.name, run.nodes.delegated.get("xnnpack") > 0);
      int taken = run.nodes.delegated.values().stream().mapToInt(Integer::intValue).sum();
      assertTrue(run.model.name, taken <= run.nodes.total);
    }
    assertEquals(0, (int) runs.get(0).nodes.delegated.get("tfcompress"));
    assertEquals(0, (int) runs.get(1).nodes.delegated.get("tfcompress"));
    assertTrue(runs.get(2).nodes.delegated.get("tfcompress") > 0);
    assertTrue(runs.get(3).nodes.delegated.get("tfcompress") > 0);
    for (Run run : read(measured(Backend.CPU)).runs) {
      assertEquals(Collections.singleton("tfcompress"), run.nodes.delegated.keySet());
    }
  }

  @Test
  public void brokenModelIsAnErrorAndOthersGoOn() throws Exception {
    byte[] content = app().models().list().entries.get(0).model.read();
    List<ModelFile> models = new ArrayList<>();
    models.add(ModelFile.of("half", Arrays.copyOf(content, content.length / 2)));
    models.addAll(app().models().list().chosen(Collections.singletonList(MODELS[0])));
    List<Run> runs = read(measured(new Plan.Builder().build(), models)).runs;
    assertTrue(runs.get(0).error, runs.get(0).error.startsWith("Failed in opening the model: "));
    assertEquals("", runs.get(1).error);
  }

  @Test
  public void allReadTheDrawnDigit() throws Exception {
    Intent intent =
        new Intent(app(), DigitActivity.class)
            .putStringArrayListExtra(ModelsActivity.SELECTED, new ArrayList<>());
    Activity screen = Robolectric.buildActivity(DigitActivity.class, intent).setup().get();
    Robot.settle();
    LooksTest.draw(screen.findViewById(R.id.pad));
    Pictures.drawn("real_digit", screen.getWindow().getDecorView());
    long twos =
        Robot.views(screen).stream()
            .filter(view -> view.getId() == R.id.digit)
            .filter(view -> "2".contentEquals(((TextView) view).getText()))
            .count();
    assertEquals(4, twos);
  }

  /** The model, and the exits of its samples, that the tests of the core have from Python. */
  private static byte[] cascadeFile(String name) throws Exception {
    File core = new File(System.getProperty("references"), "../../../../core");
    return Files.readAllBytes(new File(core, "src/test/resources/" + name).toPath());
  }

  @Test
  public void cascadesLeaveWherePythonDoes() throws Exception {
    byte[] model = cascadeFile("cascade-1.tflite");
    String text = new String(cascadeFile("cascade-1.json"), "UTF-8");
    JsonObject expected = JsonObject.parse(text, "cases").objects("cascades").get(3);
    double[] pictures = expected.numbers("inputs");
    double[] exits = expected.numbers("exits");
    int size = pictures.length / exits.length;
    Plan plan = new Plan.Builder().backend(Backend.XNNPACK).build();
    try (Session session = app().engine().open(model, plan)) {
      assertEquals(3, session.numExits());
      for (int i = 0; i < exits.length; i++) {
        double[] picture = Arrays.copyOfRange(pictures, i * size, (i + 1) * size);
        session.setInput(0, session.inputs().get(0).quantized(picture));
        session.run();
        assertEquals("sample " + i, (int) exits[i] + 1, session.exit());
      }
    }
  }

  @Test
  public void cascadesAreMeasuredAndReadDigits() throws Exception {
    ModelFile model = ModelFile.of("cascade", cascadeFile("cascade-1.tflite"));
    Plan plan = new Plan.Builder().backend(Backend.CPU).runs(5).seconds(0).build();
    Run run = read(measured(plan, Collections.singletonList(model))).runs.get(0);
    assertEquals("", run.error);
    assertEquals(5, run.samplesMs().length);
    List<ModelFile> models = Collections.singletonList(model);
    try (DigitReader reader = new DigitReader(app().engine(), app().clock(), plan, models)) {
      DigitReader.Answer answer = reader.read(new float[64], 8, 8).get(0);
      assertEquals("", answer.problem);
      assertEquals(3, answer.numExits);
      assertTrue("" + answer.exit, 1 <= answer.exit && answer.exit <= 3);
    }
  }

  @Test
  public void resultsAreShown() throws Exception {
    File file = measured(Backend.XNNPACK);
    Activity screen = Robot.open(CompareActivity.class, CompareActivity.intent(app(), file)).get();
    Pictures.drawn("real_compare", screen.getWindow().getDecorView());
    Robot.assertShows(screen, "digits encoded");
    Robot.assertUsable(screen);
  }
}
