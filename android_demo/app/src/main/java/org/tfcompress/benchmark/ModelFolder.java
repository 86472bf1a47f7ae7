package org.tfcompress.benchmark;

import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.tfcompress.benchmark.core.AtomicFile;
import org.tfcompress.benchmark.core.Folder;
import org.tfcompress.benchmark.core.HashedFile;
import org.tfcompress.benchmark.core.Manifest;
import org.tfcompress.benchmark.core.ModelFile;

/** Models in a folder: those of its manifest, and other .tflite files. */
final class ModelFolder {
  private static final String SUFFIX = ".tflite";
  private static final byte[] IDENTIFIER = "TFL3".getBytes(StandardCharsets.US_ASCII);
  private static final int IDENTIFIER_OFFSET = 4;

  private final File folder;

  ModelFolder(File folder) {
    this.folder = folder;
  }

  List<ModelFile> list() throws IOException {
    List<ModelFile> models = new ArrayList<>(ofManifest());
    Set<String> named = new HashSet<>();
    models.forEach(model -> named.add(model.file.path));
    for (File file : modelFiles()) {
      if (!named.contains(file.getName())) {
        models.add(described(file));
      }
    }
    return models;
  }

  private List<ModelFile> ofManifest() throws IOException {
    boolean isThere = new File(folder, Manifest.FILE).exists();
    return isThere ? Manifest.read(new Folder(folder)).models : new ArrayList<>();
  }

  private File[] modelFiles() {
    File[] files = folder.listFiles((parent, name) -> isModel(name));
    if (files == null) {
      return new File[0];
    }
    Arrays.sort(files);
    return files;
  }

  private static boolean isModel(String name) {
    return name.endsWith(SUFFIX) && !name.startsWith(".");
  }

  private ModelFile described(File file) throws IOException {
    String name = file.getName();
    String plain = name.substring(0, name.length() - SUFFIX.length());
    return ModelFile.of(plain, HashedFile.of(file), new Folder(folder));
  }

  /** Copies a model into the folder, as a whole file or not at all. */
  ModelFile add(String displayName, InputStream content) throws IOException {
    if (!folder.isDirectory() && !folder.mkdirs()) {
      throw new IOException("Cannot make the folder " + folder + " for models.");
    }
    File temporary = File.createTempFile(".new", ".tmp", folder);
    try {
      copy(content, temporary);
      checkIsModel(displayName, temporary);
      checkIsNew(displayName, temporary);
      File file = unused(displayName);
      if (!temporary.renameTo(file)) {
        throw new IOException("Cannot write " + file + ".");
      }
      return described(file);
    } finally {
      temporary.delete();
    }
  }

  private static void copy(InputStream content, File file) throws IOException {
    try (FileOutputStream output = new FileOutputStream(file)) {
      byte[] buffer = new byte[1 << 16];
      for (int size = content.read(buffer); size >= 0; size = content.read(buffer)) {
        output.write(buffer, 0, size);
      }
      output.getFD().sync();
    }
  }

  private static void checkIsModel(String displayName, File file) throws IOException {
    byte[] start = new byte[IDENTIFIER_OFFSET + IDENTIFIER.length];
    int size;
    try (InputStream stream = new FileInputStream(file)) {
      size = stream.read(start);
    }
    byte[] found = Arrays.copyOfRange(start, IDENTIFIER_OFFSET, start.length);
    if (size < start.length || !Arrays.equals(found, IDENTIFIER)) {
      throw new IOException(
          displayName
              + " is not a TFLite model: its bytes 4 to 7 must be TFL3. Pick a file that"
              + " tfcompress or TensorFlow exported as .tflite.");
    }
  }

  private void checkIsNew(String displayName, File file) throws IOException {
    String hash = HashedFile.of(file).sha256;
    for (ModelFile model : list()) {
      if (model.file.sha256.equals(hash)) {
        throw new IOException(
            displayName + " is in the list already: it has the content of " + model.name + ".");
      }
    }
  }

  private File unused(String displayName) {
    String plain = displayName.replaceAll("[/\\\\\\p{Cntrl}]", "_").replaceAll("^\\.+", "");
    String name = isModel(plain) ? plain.substring(0, plain.length() - SUFFIX.length()) : plain;
    File file = new File(folder, name + SUFFIX);
    for (int i = 2; file.exists(); i++) {
      file = new File(folder, name + " (" + i + ")" + SUFFIX);
    }
    return file;
  }

  /** Deletes a model and its entry in the manifest. */
  void delete(ModelFile model) throws IOException {
    List<ModelFile> named = new ArrayList<>(ofManifest());
    if (named.removeIf(other -> other.name.equals(model.name))) {
      AtomicFile.write(new File(folder, Manifest.FILE), new Manifest(named).toJson());
    }
    File file = new File(folder, model.file.path);
    if (!file.delete() && file.exists()) {
      throw new IOException("Cannot delete " + file + ".");
    }
  }
}
