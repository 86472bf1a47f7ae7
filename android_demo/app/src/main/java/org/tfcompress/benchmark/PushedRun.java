package org.tfcompress.benchmark;

import java.io.File;
import java.io.IOException;
import java.util.List;
import org.tfcompress.benchmark.core.AtomicFile;
import org.tfcompress.benchmark.core.Folder;
import org.tfcompress.benchmark.core.HashedFile;
import org.tfcompress.benchmark.core.History;
import org.tfcompress.benchmark.core.JsonObject;
import org.tfcompress.benchmark.core.Manifest;
import org.tfcompress.benchmark.core.ModelFile;
import org.tfcompress.benchmark.core.Result;

/** A run requested by a PC: models, progress and result are files in a folder. */
final class PushedRun implements Runner.Destination {
  private static final String PROGRESS = "progress.json";
  private static final String RESULT = "result.json";
  private static final String DONE = "done";

  /** Opens the history. */
  interface HistorySource {
    History open() throws IOException;
  }

  private final File folder;
  private final HistorySource history;

  PushedRun(File folder, HistorySource history) {
    this.folder = folder;
    this.history = history;
  }

  /** The models of the manifest; files of an earlier run are removed. */
  List<ModelFile> models() throws IOException {
    for (String name : new String[] {DONE, RESULT, PROGRESS}) {
      File old = new File(folder, name);
      if (!old.delete() && old.exists()) {
        throw new IOException("Cannot delete " + old + ".");
      }
    }
    return Manifest.read(new Folder(folder)).models;
  }

  @Override
  public void begin(int index, int count, String name) {
    JsonObject progress =
        new JsonObject().put("model", index + 1).put("models", count).put("name", name);
    try {
      AtomicFile.write(new File(folder, PROGRESS), progress + "\n");
    } catch (IOException full) {
      // If the result cannot be written either, it will report this.
    }
  }

  @Override
  public File save(Result result) throws IOException {
    File kept = history.open().save(result);
    File file = new File(folder, RESULT);
    AtomicFile.write(file, result.toJson());
    return kept;
  }

  @Override
  public void end() {
    File file = new File(folder, RESULT);
    try {
      HashedFile hashed = HashedFile.of(file);
      finish(
          new JsonObject()
              .put("error", null)
              .put("sha256", hashed.sha256)
              .put("size_bytes", hashed.sizeBytes));
    } catch (IOException error) {
      fail(Background.message(error));
    }
  }

  @Override
  public void fail(String problem) {
    try {
      finish(new JsonObject().put("error", problem));
    } catch (IOException full) {
      // There is no way to report this; the PC stops waiting after a while.
    }
  }

  private void finish(JsonObject text) throws IOException {
    AtomicFile.write(new File(folder, DONE), text + "\n");
  }
}
