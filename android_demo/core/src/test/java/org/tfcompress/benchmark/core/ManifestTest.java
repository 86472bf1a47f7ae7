package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

public class ManifestTest {
  /** SHA-256 of "abc", an example of FIPS 180-2. */
  private static final String ABC =
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

  @Rule public final TemporaryFolder temporary = new TemporaryFolder();
  private final Map<String, byte[]> files = new HashMap<>();
  private final Source source =
      path -> {
        if (!files.containsKey(path)) {
          throw new FileNotFoundException(path);
        }
        return new ByteArrayInputStream(files.get(path));
      };

  private static String model(String name, String file, String more) {
    return "{\"name\":\"" + name + "\",\"file\":\"" + file + "\",\"sha256\":\"" + ABC
        + "\",\"size_bytes\":3" + more + "}";
  }

  private static String manifest(String models) {
    return "{\"format\":\"tfcompress-models\",\"version\":1,\"models\":[" + models + "]}";
  }

  private Manifest read(String models) throws IOException {
    files.put("manifest.json", manifest(models).getBytes(StandardCharsets.UTF_8));
    return Manifest.read(source);
  }

  private static String npz(String key, String name) throws IOException {
    byte[] content = Resources.bytes(name);
    return ",\"" + key + "\":{\"file\":\"" + name + "\",\"sha256\":\"" + Bytes.sha256(content)
        + "\",\"size_bytes\":" + content.length + "}";
  }

  @Test
  public void readsAModel() throws IOException {
    files.put("sub/a.tflite", new byte[] {'a', 'b', 'c'});
    String more =
        ",\"inputs\":[{\"name\":\"x\",\"shape\":[1,8,8,1],\"type\":\"int8\",\"scale\":0.5,"
            + "\"zero_point\":-3}],\"outputs\":[{\"name\":\"y\",\"shape\":[1,10],"
            + "\"type\":\"float32\"}],\"labels\":[\"zero\",\"one\"]";
    ModelFile model = read(model("A", "sub/a.tflite", more)).models.get(0);
    assertEquals("A", model.name);
    assertEquals(ABC, model.id().sha256);
    assertEquals(3, model.id().sizeBytes);
    assertArrayEquals(new byte[] {'a', 'b', 'c'}, model.read());
    assertArrayEquals(new int[] {1, 8, 8, 1}, model.inputs.get(0).shape());
    assertEquals(ElementType.INT8, model.inputs.get(0).type);
    assertEquals(0.5, model.inputs.get(0).scale, 0);
    assertEquals(-3, model.inputs.get(0).zeroPoint);
    assertEquals(10, model.outputs.get(0).count());
    assertEquals(Arrays.asList("zero", "one"), model.labels);
    assertFalse(model.hasEvaluation());
  }

  @Test
  public void readsExamplesAndReferences() throws IOException {
    files.put("data.npz", Resources.bytes("data.npz"));
    files.put("reference.npz", Resources.bytes("reference.npz"));
    String more = npz("data", "data.npz") + npz("reference", "reference.npz");
    ModelFile model = read(model("A", "a.tflite", more)).models.get(0);
    assertTrue(model.hasEvaluation());
    Evaluation evaluation = model.evaluation();
    assertEquals(3, evaluation.count());
    assertEquals(1, evaluation.label(0));
    assertArrayEquals(new float[] {1.5f, 0}, evaluation.reference(1), 0);
    TensorSpec halves = new TensorSpec("x", new int[] {1, 2}, ElementType.INT8, 0.25, 0);
    assertArrayEquals(new byte[] {1, 3}, evaluation.input(2, halves));
    TensorSpec larger = new TensorSpec("x", new int[] {2, 2}, ElementType.INT8, 0.25, 0);
    assertEquals(
        "Examples of shape [3, 2] do not fit tensor x (int8 [2, 2]), which takes one at a time.",
        Errors.of(() -> evaluation.input(0, larger)));
  }

  @Test
  public void whatItWritesIsWhatItReads() throws IOException {
    String more =
        npz("data", "data.npz")
            + ",\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"type\":\"uint8\",\"scale\":1,"
            + "\"zero_point\":2}],\"labels\":[\"a\"]";
    String text = read(model("A", "a.tflite", more) + "," + model("B", "b.tflite", "")).toJson();
    assertEquals(text, Manifest.fromJson(text, source).toJson());
    assertTrue(text, text.contains("\"shape\": [1],"));
  }

  @Test
  public void readsAFolder() throws IOException {
    File folder = temporary.getRoot();
    AtomicFile.write(new File(folder, "manifest.json"), manifest(model("A", "a.tflite", "")));
    AtomicFile.write(new File(folder, "a.tflite"), "abc");
    assertEquals(3, Manifest.read(new Folder(folder)).models.get(0).read().length);
  }

  @Test
  public void aPickedModelNeedsNoManifest() throws IOException {
    ModelFile model = ModelFile.of("picked.tflite", new byte[] {'a', 'b', 'c'});
    assertEquals(ABC, model.id().sha256);
    assertEquals(3, model.read().length);
  }

  @Test
  public void refusesOtherContent() throws IOException {
    ModelFile model = read(model("A", "a.tflite", "")).models.get(0);
    files.put("a.tflite", new byte[] {'a', 'b'});
    assertEquals(
        "a.tflite must have 3 bytes; it has 2. Copy it again.",
        Errors.of(IOException.class, model::read));
    files.put("a.tflite", new byte[3]);
    assertEquals(
        "a.tflite must have the SHA-256 " + ABC + "; it has "
            + "709e80c88487a2411e1ee4dfb9f22a861492d20c4765150c0c794abd70f8147c. Copy it again.",
        Errors.of(IOException.class, model::read));
  }

  @Test
  public void refusesWhatIsWrong() {
    assertEquals(
        "Each model needs a name of its own; two are called \"A\".",
        Errors.of(() -> read(model("A", "a.tflite", "") + "," + model("A", "b.tflite", ""))));
    for (String path : new String[] {"../a", "/a", "a/../../b", ""}) {
      assertEquals(
          "A file must be named relative to its manifest, and inside of its folder; got \""
              + path + "\".",
          Errors.of(() -> read(model("A", path, ""))));
    }
    assertEquals(
        "sha256 must be 64 hexadecimal digits in lower case; got \"BA\".",
        Errors.of(() -> read(model("A", "a", "").replace(ABC, "BA"))));
    assertEquals(
        "manifest.models[0].data must be there where there is a reference; it is missing.",
        Errors.of(() -> read(model("A", "a", npz("reference", "reference.npz")))));
    assertEquals(
        "manifest.models[0].inputs[0].shape must be a list of whole numbers; got [1.5].",
        Errors.of(() -> read(model("A", "a", ",\"inputs\":[{\"name\":\"x\",\"shape\":[1.5]}]"))));
    assertEquals(
        "manifest.models must be a list; it is missing.",
        Errors.of(
            () -> Manifest.fromJson("{\"format\":\"tfcompress-models\",\"version\":1}", source)));
    assertEquals(
        "manifest.version must be 1; use the app and the toolkit of one release; got 2.",
        Errors.of(() -> Manifest.fromJson(manifest("").replace(":1", ":2"), source)));
    assertEquals(
        "manifest.format must be \"tfcompress-models\"; it is missing.",
        Errors.of(() -> Manifest.fromJson("{}", source)));
  }
}
