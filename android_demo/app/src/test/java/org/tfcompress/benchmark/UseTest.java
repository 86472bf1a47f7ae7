package org.tfcompress.benchmark;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNotNull;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;
import static org.robolectric.Shadows.shadowOf;
import static org.tfcompress.benchmark.Pictures.assertLooksLike;
import static org.tfcompress.benchmark.Robot.app;
import static org.tfcompress.benchmark.Robot.assertShows;
import static org.tfcompress.benchmark.Robot.click;
import static org.tfcompress.benchmark.Robot.follow;
import static org.tfcompress.benchmark.Robot.open;
import static org.tfcompress.benchmark.Robot.push;
import static org.tfcompress.benchmark.Robot.settle;

import android.app.Activity;
import android.app.AlertDialog;
import android.content.Intent;
import android.net.Uri;
import android.view.View;
import android.widget.EditText;
import android.widget.Spinner;
import android.widget.TextView;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.TimeZone;
import org.junit.Before;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.android.controller.ActivityController;
import org.robolectric.annotation.Config;
import org.robolectric.annotation.GraphicsMode;
import org.robolectric.shadows.ShadowDialog;
import org.tfcompress.benchmark.core.Backend;
import org.tfcompress.benchmark.core.HashedFile;
import org.tfcompress.benchmark.core.JsonObject;
import org.tfcompress.benchmark.core.Plan;
import org.tfcompress.benchmark.core.Result;
import org.tfcompress.benchmark.core.ResultCsv;

/** What people do with the app, step by step. */
@RunWith(RobolectricTestRunner.class)
@GraphicsMode(GraphicsMode.Mode.NATIVE)
@Config(application = TestApplication.class, sdk = 34, qualifiers = "w411dp-h731dp-mdpi")
public class UseTest {
  @Before
  public void set() {
    Locale.setDefault(Locale.US);
    TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
  }

  private static AlertDialog dialog() {
    return (AlertDialog) ShadowDialog.getLatestDialog();
  }

  private static String dialogText() {
    return ((TextView) dialog().findViewById(android.R.id.message)).getText().toString();
  }

  private static void answer(int button) {
    dialog().getButton(button).performClick();
    settle();
  }

  private static void menu(Activity screen, int item) {
    shadowOf(screen).clickMenuItem(item);
    settle();
  }

  private static List<Result> history() throws Exception {
    List<Result> results = new ArrayList<>();
    app().history().list().forEach(entry -> results.add(entry.result()));
    return results;
  }

  private static void pick(Activity screen, String name, byte[] content) {
    menu(screen, R.id.add);
    Intent intent = shadowOf(screen).getNextStartedActivity();
    assertEquals(Intent.ACTION_OPEN_DOCUMENT, intent.getAction());
    Uri uri = Uri.parse("content://documents/" + Uri.encode(name));
    shadowOf(screen.getContentResolver())
        .registerInputStream(uri, new ByteArrayInputStream(content));
    shadowOf(screen).receiveResult(intent, Activity.RESULT_OK, new Intent().setData(uri));
    settle();
  }

  @Test
  public void pickedModelIsCopiedAndSelected() throws Exception {
    Activity screen = open(ModelsActivity.class).get();
    pick(screen, "mine.tflite", Robot.model("{}"));
    assertShows(screen, "Picked on this device");
    assertShows(screen, "mine");
    // sha256sum of fakeTFL3{}
    assertShows(screen, "10 B · SHA-256 2a76d0c6…");
    assertShows(screen, "1 of 5 selected");
  }

  @Test
  public void whatIsNoModelIsRefused() throws Exception {
    Activity screen = open(ModelsActivity.class).get();
    pick(screen, "photo.jpg", "JFIF and so on".getBytes(StandardCharsets.UTF_8));
    assertEquals(
        "photo.jpg is not a TFLite model: its bytes 4 to 7 must be TFL3. Pick a file that"
            + " tfcompress or TensorFlow exported as .tflite.",
        dialogText());
    assertShows(screen, "0 of 4 selected");
    assertEquals(0, new File(app().getFilesDir(), "models").list().length);
  }

  @Test
  public void sameContentIsNotAddedTwice() throws Exception {
    Activity screen = open(ModelsActivity.class).get();
    pick(screen, "mine.tflite", Robot.model("{}"));
    pick(screen, "copy.tflite", Robot.model("{}"));
    assertEquals(
        "copy.tflite is in the list already: it has the content of mine.", dialogText());
    pick(screen, "mine.tflite", Robot.model("{\"latency_ms\": 2}"));
    assertShows(screen, "mine (2)");
  }

  @Test
  public void pickingNothingChangesNothing() throws Exception {
    Activity screen = open(ModelsActivity.class).get();
    menu(screen, R.id.add);
    Intent intent = shadowOf(screen).getNextStartedActivity();
    shadowOf(screen).receiveResult(intent, Activity.RESULT_CANCELED, null);
    settle();
    assertShows(screen, "0 of 4 selected");
    assertNull(ShadowDialog.getLatestDialog());
  }

  @Test
  public void deletionAsksFirst() throws Exception {
    File file = push("old.tflite", "{}");
    Activity screen = open(ModelsActivity.class).get();
    click(screen, "Delete old");
    assertLooksLike("delete_dialog", dialog().getWindow().getDecorView(), 1);
    answer(AlertDialog.BUTTON_NEGATIVE);
    assertTrue(file.exists());
    click(screen, "Delete old");
    answer(AlertDialog.BUTTON_POSITIVE);
    assertFalse(file.exists());
    assertShows(screen, "0 of 4 selected");
  }

  @Test
  public void brokenManifestIsToldAndOthersStay() throws Exception {
    File folder = push("any.tflite", "{}").getParentFile();
    Files.write(new File(folder, "manifest.json").toPath(), "{}".getBytes("UTF-8"));
    Activity screen = open(ModelsActivity.class).get();
    assertShows(
        screen,
        "Pushed by adb: manifest.format must be \"tfcompress-models\"; it is missing.");
    assertShows(screen, "digits int8");
  }

  @Test
  public void measuresFromModelsToResults() throws Exception {
    Activity models = open(ModelsActivity.class).get();
    assertFalse(models.findViewById(R.id.measure).isEnabled());
    click(models, "digits float32");
    click(models, "digits int8");
    click(models, "Measure …");
    Activity settings = follow(models, SettingsActivity.class);
    click(settings, "CPU");
    click(settings, "More: Threads");
    click(settings, "Less: Warm-up runs");
    click(settings, "More: Timed for at least");
    click(settings, "More: Pause before each model");
    assertShows(settings, "2 models, 6 s at least"); // 2 · (1 s of runs + 2 s of pause)
    click(settings, "Start");
    Activity running = follow(settings, RunningActivity.class);
    Robot.finishRun();
    Activity results = follow(running, CompareActivity.class);
    assertShows(results, "CPU, 2 threads");
    assertShows(results, "digits int8");
    Plan plan = history().get(0).plan;
    assertEquals(Backend.CPU, plan.backend);
    assertEquals(2, plan.numThreads);
    assertEquals(2, plan.warmUp);
    assertEquals(1, plan.seconds, 0);
    assertEquals(2, plan.coolDownSeconds, 0);
    assertTrue(plan.checksAccuracy);
  }

  @Test
  public void settingsAreRemembered() throws Exception {
    Intent intent =
        new Intent(app(), SettingsActivity.class)
            .putStringArrayListExtra(ModelsActivity.SELECTED, new ArrayList<>());
    Activity first = open(SettingsActivity.class, intent).get();
    click(first, "NNAPI");
    click(first, "Check the answers");
    click(first, "More: Sustained run after it");
    Plan plan = new PlanStore(app()).load();
    assertEquals(Backend.NNAPI, plan.backend);
    assertEquals(60, plan.sustainedSeconds, 0);
    assertFalse(plan.checksAccuracy);
    assertShows(open(SettingsActivity.class, intent).get(), "1 min");
  }

  @Test
  public void backendThatIsGoneIsNotKept() {
    new PlanStore(app()).save(new Plan.Builder().backend(Backend.GPU).numThreads(3).build());
    assertEquals(Backend.XNNPACK, new PlanStore(app()).load().backend);
    assertEquals(3, new PlanStore(app()).load().numThreads);
  }

  @Test
  public void rotationKeepsTheRunAndBackKeepsItToo() throws Exception {
    push("a slow.tflite", "{\"pause_at\": 300}");
    push("quick.tflite", "{}");
    Robot.start(new Plan.Builder().runs(400).seconds(0).build(), "PUSHED/a slow", "PUSHED/quick");
    Robot.awaitPause();
    ActivityController<RunningActivity> controller = open(RunningActivity.class);
    Robot.rotate(controller);
    assertShows(controller.get(), "Model 1 of 2");
    assertLooksLike("running_rotated", controller.get());
    controller.pause().stop().destroy();
    Activity models = open(ModelsActivity.class).get();
    assertShows(models, "A benchmark is running");
    click(models, "Show");
    Activity again = follow(models, RunningActivity.class);
    app().engine.resume.countDown();
    Robot.finishRun();
    assertShows(follow(again, CompareActivity.class), "quick");
    assertEquals(400, history().get(0).runs.get(0).samplesMs().length);
  }

  @Test
  public void cancellationKeepsWhatWasMeasured() throws Exception {
    push("a slow.tflite", "{\"pause_at\": 30}");
    push("quick.tflite", "{}");
    Robot.start(new Plan.Builder().build(), "PUSHED/a slow", "PUSHED/quick");
    Robot.awaitPause();
    Activity running = open(RunningActivity.class).get();
    click(running, "Cancel");
    assertShows(running, "Stopping …");
    app().engine.resume.countDown();
    Robot.finishRun();
    Activity results = follow(running, CompareActivity.class);
    // 5 runs of warm-up, then the 25th timed one was the last
    assertShows(results, "Cancelled in the timed runs, after 25 timed runs.");
    Result result = history().get(0);
    assertEquals(1, result.runs.size());
    assertTrue(result.runs.get(0).isCancelled);
    assertEquals(25, result.runs.get(0).samplesMs().length);
    assertEquals(0, app().engine.numOpen);
  }

  @Test
  public void secondBenchmarkWaitsForTheFirst() throws Exception {
    push("slow.tflite", "{\"pause_at\": 2}");
    Robot.start(new Plan.Builder().build(), "PUSHED/slow");
    Robot.awaitPause();
    Intent intent =
        new Intent(app(), SettingsActivity.class)
            .putStringArrayListExtra(
                ModelsActivity.SELECTED,
                new ArrayList<>(Arrays.asList("BUNDLED/digits int8")));
    click(open(SettingsActivity.class, intent).get(), "Start");
    assertEquals("Cancel it first, or wait for its end.", dialogText());
    app().engine.resume.countDown();
    Robot.finishRun();
    assertEquals(1, history().size());
  }

  @Test
  public void failureOfOneModelLeavesOthers() throws Exception {
    push("bad.tflite", "{\"open_error\": \"unresolved custom op: tfc_dense\"}");
    push("quick.tflite", "{}");
    File file = Robot.measured(new Plan.Builder().build(), "PUSHED/bad", "PUSHED/quick");
    Activity results =
        open(CompareActivity.class, CompareActivity.intent(app(), file)).get();
    assertShows(results, "Failed in opening the model: unresolved custom op: tfc_dense");
    // the baseline is the first model that was measured
    assertEquals(1, ((Spinner) results.findViewById(R.id.baseline)).getSelectedItemPosition());
  }

  @Test
  public void missingFileOfTheHistoryIsTold() throws Exception {
    File file = new File(app().getFilesDir(), "history/none.json");
    Activity results =
        open(CompareActivity.class, CompareActivity.intent(app(), file)).get();
    assertShows(results, "This file cannot be read");
  }

  @Test
  public void baselineCanBeChosen() throws Exception {
    push("one.tflite", "{\"latency_ms\": 1, \"spread\": 0}");
    push("four.tflite", "{\"latency_ms\": 4, \"spread\": 0}");
    push("same.tflite", "{\"latency_ms\": 1, \"spread\": 0}");
    File file =
        Robot.measured(new Plan.Builder().build(), "PUSHED/one", "PUSHED/four", "PUSHED/same");
    Activity results =
        open(CompareActivity.class, CompareActivity.intent(app(), file)).get();
    // in the order of the list: four, one, same
    assertShows(results, "faster: 0.25× the time (0.25× to 0.25×)");
    ((Spinner) results.findViewById(R.id.baseline)).setSelection(1);
    settle();
    assertShows(results, "slower: 4.00× the time (4.00× to 4.00×)");
    assertShows(results, "within the spread: 1.00× the time (1.00× to 1.00×)");
    click(results, "Details of four");
    Activity details = follow(results, DetailsActivity.class);
    assertShows(details, "4.00 to 4.00 ms");
  }

  @Test
  public void historyIsFilteredAndDeleted() throws Exception {
    Robot.measured(new Plan.Builder().build(), "BUNDLED/digits int8");
    Robot.measured(new Plan.Builder().build(), "BUNDLED/digits binary");
    Activity screen = open(HistoryActivity.class).get();
    EditText filter = screen.findViewById(R.id.filter);
    filter.setText("BINARY acme");
    settle();
    assertShows(screen, "digits binary");
    assertFalse(Robot.texts(screen).contains("digits int8"));
    filter.setText("nexus");
    settle();
    assertShows(screen, "No result has “nexus” in its models, device, date or backend.");
    filter.setText("int8");
    settle();
    click(screen, "Delete Nov 28, 2026, 8:01 PM\nXNNPACK, 1 thread");
    assertEquals("1 result is removed from this device.", dialogText());
    answer(AlertDialog.BUTTON_POSITIVE);
    assertEquals(1, history().size());
    assertEquals("digits binary", history().get(0).runs.get(0).model.name);
  }

  @Test
  public void severalResultsAreCompared() throws Exception {
    Robot.measured(new Plan.Builder().build(), "BUNDLED/digits int8");
    app().clock.pass(3_600_000);
    Robot.measured(new Plan.Builder().numThreads(2).build(), "BUNDLED/digits int8");
    Activity screen = open(HistoryActivity.class).get();
    click(screen, "Select Nov 28, 2026, 8:01 PM\nXNNPACK, 1 thread");
    click(screen, "Select Nov 28, 2026, 9:01 PM\nXNNPACK, 2 threads");
    assertShows(screen, "2 selected");
    click(screen, "Compare");
    Activity results = follow(screen, CompareActivity.class);
    assertShows(results, "2 results compared");
    assertShows(results, "digits int8 · XNNPACK, 2 threads");
  }

  @Test
  public void brokenResultIsListedAndCanBeDeleted() throws Exception {
    File file = Robot.measured(new Plan.Builder().build(), "BUNDLED/digits int8");
    Files.write(file.toPath(), "{".getBytes(StandardCharsets.UTF_8));
    Activity screen = open(HistoryActivity.class).get();
    click(screen, "This file cannot be read");
    assertNotNull(dialog());
    click(screen, "Delete This file cannot be read");
    answer(AlertDialog.BUTTON_POSITIVE);
    assertShows(screen, "No results yet");
  }

  @Test
  public void emptyHistoryExplainsItself() throws Exception {
    Activity screen = open(HistoryActivity.class).get();
    assertShows(screen, "Each benchmark is kept here until you delete it.");
  }

  private static String shared(int item, Activity results, String type) throws Exception {
    menu(results, item);
    Intent chooser = shadowOf(results).getNextStartedActivity();
    Intent intent = chooser.getParcelableExtra(Intent.EXTRA_INTENT);
    assertEquals(Intent.ACTION_SEND, intent.getAction());
    assertEquals(type, intent.getType());
    Uri uri = intent.getParcelableExtra(Intent.EXTRA_STREAM);
    assertEquals(type, app().getContentResolver().getType(uri));
    assertThrows(
        SecurityException.class, () -> app().getContentResolver().openOutputStream(uri, "w"));
    try (InputStream stream = app().getContentResolver().openInputStream(uri)) {
      byte[] content = new byte[1 << 20];
      return new String(content, 0, stream.read(content), StandardCharsets.UTF_8);
    }
  }

  @Test
  public void resultsAreShared() throws Exception {
    File file = Robot.measured(new Plan.Builder().build(), "BUNDLED/digits int8");
    Activity results =
        open(CompareActivity.class, CompareActivity.intent(app(), file)).get();
    Result result = history().get(0);
    assertEquals(result.toJson(), shared(R.id.share_json, results, "application/json"));
    assertEquals(ResultCsv.write(result), shared(R.id.share_csv, results, "text/csv"));
  }

  @Test
  public void sharedFilesDoNotReachElsewhere() {
    Uri uri = Uri.parse("content://" + SharedFiles.AUTHORITY + "/..%2F..%2Ffiles%2Frunning.txt");
    assertThrows(
        IOException.class, () -> app().getContentResolver().openInputStream(uri));
  }

  private static JsonObject headless(String folder, String plan) throws Exception {
    open(
        RunActivity.class,
        new Intent(app(), RunActivity.class).putExtra("folder", folder).putExtra("plan", plan));
    Robot.finishRun();
    File done = new File(app().models().pushedFolder(folder), "done");
    return JsonObject.parse(
        new String(Files.readAllBytes(done.toPath()), StandardCharsets.UTF_8), "done");
  }

  private static File pushManifest(String folder) throws Exception {
    File pushed = app().models().pushedFolder(folder);
    pushed.mkdirs();
    for (String name : new String[] {
      "manifest.json", "digits.npz", "answers.npz", "digits_float32.tflite",
      "digits_int8.tflite", "digits_binary.tflite", "digits_encoded.tflite"
    }) {
      try (InputStream stream = app().bundled().open(name)) {
        Files.copy(stream, new File(pushed, name).toPath());
      }
    }
    return pushed;
  }

  @Test
  public void runsWhatThePcPushed() throws Exception {
    File folder = pushManifest("job-1");
    Files.write(new File(folder, "done").toPath(), "old".getBytes(StandardCharsets.UTF_8));
    String plan = new Plan.Builder().runs(20).seconds(0).build().toJson().toString();
    JsonObject done = headless("job-1", plan);
    assertFalse(done.has("error"));
    File file = new File(folder, "result.json");
    assertEquals(HashedFile.of(file).sha256, done.text("sha256"));
    assertEquals(file.length(), done.whole("size_bytes"));
    Result result =
        Result.fromJson(new String(Files.readAllBytes(file.toPath()), StandardCharsets.UTF_8));
    assertEquals(4, result.runs.size());
    assertEquals(20, result.runs.get(3).samplesMs().length);
    assertEquals(200, result.runs.get(0).accuracy.examples);
    assertEquals(1, history().size());
    String progress =
        new String(
            Files.readAllBytes(new File(folder, "progress.json").toPath()),
            StandardCharsets.UTF_8);
    assertEquals(4, JsonObject.parse(progress, "progress").integer("model"));
  }

  @Test
  public void tellsThePcWhatIsWrong() throws Exception {
    pushManifest("job-2");
    assertEquals(
        "plan.runs must be a whole number; got \"many\".",
        headless("job-2", "{\"backend\": \"cpu\", \"num_threads\": 1, \"warm_up\": 0,"
                + " \"runs\": \"many\", \"seconds\": 0}")
            .text("error"));
    app().models().pushedFolder("job-3").mkdirs();
    String plan = new Plan.Builder().build().toJson().toString();
    assertTrue(headless("job-3", plan).text("error").contains("manifest.json"));
  }

  @Test
  public void secondRunOfThePcIsRefusedWhileOneRuns() throws Exception {
    push("slow.tflite", "{\"pause_at\": 2}");
    Robot.start(new Plan.Builder().build(), "PUSHED/slow");
    Robot.awaitPause();
    File folder = pushManifest("job-4");
    String plan = new Plan.Builder().build().toJson().toString();
    Intent intent =
        new Intent(app(), RunActivity.class).putExtra("folder", "job-4").putExtra("plan", plan);
    open(RunActivity.class, intent);
    settle();
    String done =
        new String(
            Files.readAllBytes(new File(folder, "done").toPath()), StandardCharsets.UTF_8);
    assertEquals(
        "A benchmark is running; cancel it or wait for its end.",
        JsonObject.parse(done, "done").text("error"));
    app().engine.resume.countDown();
    Robot.finishRun();
  }

  @Test
  public void folderElsewhereIsNotTouched() throws Exception {
    File elsewhere = app().models().pushedFolder("x").getParentFile().getParentFile();
    open(
        RunActivity.class,
        new Intent(app(), RunActivity.class).putExtra("folder", "..").putExtra("plan", "{}"));
    Robot.finishRun();
    assertFalse(new File(elsewhere, "done").exists());
    assertEquals(RunState.Stage.IDLE, app().runner().state().stage);
  }

  @Test
  public void failureOfAllIsShown() throws Exception {
    push("gone.tflite", "{}");
    Intent intent =
        new Intent(app(), SettingsActivity.class)
            .putStringArrayListExtra(
                ModelsActivity.SELECTED, new ArrayList<>(Arrays.asList("PUSHED/gone")));
    Activity settings = open(SettingsActivity.class, intent).get();
    new File(app().models().pushedFolder("models"), "gone.tflite").delete();
    click(settings, "Start");
    Robot.finishRun();
    Activity running = follow(settings, RunningActivity.class);
    assertShows(running, "There is no model to measure; choose one at least.");
    assertLooksLike("failed", running);
    assertEquals(0, history().size());
  }

  @Test
  public void crashIsToldOnceAtTheNextStart() throws Exception {
    Files.write(
        new File(app().getFilesDir(), "running.txt").toPath(),
        "digits int8 (NNAPI)".getBytes(StandardCharsets.UTF_8));
    String text = "The app was stopped while it measured digits int8 (NNAPI).";
    assertShows(open(ModelsActivity.class).get(), text);
    assertFalse(Robot.texts(open(ModelsActivity.class).get()).contains(text));
  }

  @Test
  public void digitIsReadAgainAfterRotationAndModelsAreClosed() throws Exception {
    Intent intent =
        new Intent(app(), DigitActivity.class)
            .putStringArrayListExtra(ModelsActivity.SELECTED, new ArrayList<>());
    push("not for digits.tflite", "{\"outputs\": 3}");
    ActivityController<DigitActivity> controller = open(DigitActivity.class, intent);
    LooksTest.draw(controller.get().findViewById(R.id.pad));
    assertShows(controller.get(), "digits binary");
    assertFalse(Robot.texts(controller.get()).contains("not for digits"));
    Robot.rotate(controller);
    assertShows(controller.get(), "digits binary");
    assertEquals(4, app().engine.numOpen);
    click(controller.get(), "Clear");
    assertFalse(Robot.texts(controller.get()).contains("digits binary"));
    controller.pause().stop().destroy();
    settle();
    assertEquals(0, app().engine.numOpen);
  }

  @Test
  public void digitScreenSaysWhatItNeeds() throws Exception {
    app().hasBundledModels = false;
    Intent intent =
        new Intent(app(), DigitActivity.class)
            .putStringArrayListExtra(ModelsActivity.SELECTED, new ArrayList<>());
    assertShows(
        open(DigitActivity.class, intent).get(), "None of the models can read a digit");
  }
}
