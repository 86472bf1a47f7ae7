package org.tfcompress.benchmark;

import android.content.Context;
import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import org.tfcompress.benchmark.core.Manifest;
import org.tfcompress.benchmark.core.ModelFile;
import org.tfcompress.benchmark.core.Source;

/** All models that can be measured, by origin. */
final class Models {
  /** Where a model comes from. */
  enum Origin {
    BUNDLED(R.string.origin_bundled),
    PUSHED(R.string.origin_pushed),
    PICKED(R.string.origin_picked);

    final int title;

    Origin(int title) {
      this.title = title;
    }
  }

  /** A model in the list. */
  static final class Entry {
    final Origin origin;
    final ModelFile model;

    Entry(Origin origin, ModelFile model) {
      this.origin = origin;
      this.model = model;
    }

    /** Identifies it, also after the app is restarted. */
    String id() {
      return origin + "/" + model.name;
    }

    boolean canBeDeleted() {
      return origin != Origin.BUNDLED;
    }
  }

  /** The models found, and what could not be read. */
  static final class Listing {
    final List<Entry> entries = new ArrayList<>();
    final List<String> problems = new ArrayList<>();

    List<ModelFile> chosen(Collection<String> ids) {
      List<ModelFile> chosen = new ArrayList<>();
      for (Entry entry : entries) {
        if (ids.contains(entry.id())) {
          chosen.add(entry.model);
        }
      }
      return chosen;
    }
  }

  static final String FOLDER = "models";

  private final Context context;
  private final Source bundled;

  Models(Context context, Source bundled) {
    this.context = context;
    this.bundled = bundled;
  }

  Listing list() {
    Listing listing = new Listing();
    for (Origin origin : Origin.values()) {
      try {
        for (ModelFile model : list(origin)) {
          listing.entries.add(new Entry(origin, model));
        }
      } catch (IOException | IllegalArgumentException error) {
        listing.problems.add(context.getString(origin.title) + ": " + Background.message(error));
      }
    }
    return listing;
  }

  private List<ModelFile> list(Origin origin) throws IOException {
    return origin == Origin.BUNDLED ? bundled() : folder(origin).list();
  }

  private List<ModelFile> bundled() throws IOException {
    try {
      return Manifest.read(bundled).models;
    } catch (FileNotFoundException none) {
      return Collections.emptyList();
    }
  }

  private ModelFolder folder(Origin origin) {
    return new ModelFolder(origin == Origin.PUSHED ? pushedFolder(FOLDER) : pickedFolder());
  }

  private File pickedFolder() {
    return new File(context.getFilesDir(), FOLDER);
  }

  /** A folder that {@code adb push} can write to. */
  File pushedFolder(String name) {
    return new File(context.getExternalFilesDir(null), name);
  }

  ModelFile add(String displayName, InputStream content) throws IOException {
    return folder(Origin.PICKED).add(displayName, content);
  }

  void delete(Entry entry) throws IOException {
    folder(entry.origin).delete(entry.model);
  }
}
