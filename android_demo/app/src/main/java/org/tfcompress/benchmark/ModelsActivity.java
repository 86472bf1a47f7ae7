package org.tfcompress.benchmark;

import android.content.ClipData;
import android.content.Intent;
import android.database.Cursor;
import android.net.Uri;
import android.os.Bundle;
import android.provider.OpenableColumns;
import android.view.Menu;
import android.view.MenuItem;
import android.view.View;
import android.view.ViewGroup;
import android.widget.Button;
import android.widget.CheckBox;
import android.widget.TextView;
import android.widget.Toast;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import org.tfcompress.benchmark.core.ModelFile;

/** The models that can be measured; the first screen of the app. */
public final class ModelsActivity extends Screen {
  static final String SELECTED = "selected";
  private static final int PICK = 1;

  private final ArrayList<String> selected = new ArrayList<>();
  private Models.Listing listing = new Models.Listing();
  private String crash = "";

  @Override
  protected void onCreate(Bundle saved) {
    super.onCreate(saved);
    setContentView(R.layout.models);
    if (saved != null) {
      selected.addAll(saved.getStringArrayList(SELECTED));
    }
    findViewById(R.id.measure).setOnClickListener(view -> open(SettingsActivity.class));
    if (!app().runner().state().isRunning()) {
      load(app().runner()::takeCrash, this::showCrash);
    }
  }

  private void showCrash(String model) {
    crash = model;
    show();
  }

  @Override
  protected void onResume() {
    super.onResume();
    reload();
  }

  private void reload() {
    load(app().models()::list, this::show);
  }

  private void show(Models.Listing found) {
    listing = found;
    List<String> ids = new ArrayList<>();
    found.entries.forEach(entry -> ids.add(entry.id()));
    selected.retainAll(ids);
    show();
  }

  private void show() {
    content().removeAllViews();
    if (app().runner().state().isRunning()) {
      addBanner();
    }
    if (!crash.isEmpty()) {
      addProblem(getString(R.string.not_done), getString(R.string.crashed, crash));
    }
    for (String problem : listing.problems) {
      addProblem(getString(R.string.not_done), problem);
    }
    for (Models.Origin origin : Models.Origin.values()) {
      addCard(origin);
    }
    boolean isEmpty = listing.entries.isEmpty();
    if (isEmpty) {
      View help = add(R.layout.how_to_add, content());
      help.findViewById(R.id.add).setOnClickListener(view -> pick());
    }
    findViewById(R.id.bar).setVisibility(isEmpty ? View.GONE : View.VISIBLE);
    showCount();
  }

  private void addBanner() {
    View banner = add(R.layout.banner, content());
    setText(banner, R.id.title, getString(R.string.is_running));
    Button button = banner.findViewById(R.id.action);
    button.setText(R.string.show);
    button.setOnClickListener(
        view -> startActivity(new Intent(this, RunningActivity.class)));
  }

  private void addCard(Models.Origin origin) {
    ViewGroup card = null;
    for (Models.Entry entry : listing.entries) {
      if (entry.origin == origin) {
        card = card == null ? addCard(getString(origin.title)) : card;
        addRow(card, entry);
      }
    }
  }

  private void addRow(ViewGroup card, Models.Entry entry) {
    View row = add(R.layout.row_check, card);
    ModelFile model = entry.model;
    setText(row, R.id.title, model.name);
    setText(row, R.id.subtitle, description(model));
    CheckBox check = row.findViewById(R.id.check);
    check.setContentDescription(getString(R.string.select_what, model.name));
    check.setChecked(selected.contains(entry.id()));
    check.setOnCheckedChangeListener((view, isChecked) -> select(entry.id(), isChecked));
    row.setOnClickListener(view -> check.toggle());
    View delete = row.findViewById(R.id.delete);
    delete.setVisibility(entry.canBeDeleted() ? View.VISIBLE : View.GONE);
    delete.setContentDescription(getString(R.string.delete_what, model.name));
    delete.setOnClickListener(
        view ->
            confirmDeletion(
                getString(R.string.delete_model_question, model.name),
                getString(R.string.delete_model_message),
                () -> delete(entry)));
  }

  private String description(ModelFile model) {
    String text =
        getString(
            R.string.size_and_hash,
            Units.bytes(model.file.sizeBytes),
            model.file.sha256.substring(0, 8));
    return model.hasEvaluation() ? text + " · " + getString(R.string.with_examples) : text;
  }

  private void select(String id, boolean isSelected) {
    selected.remove(id);
    if (isSelected) {
      selected.add(id);
    }
    showCount();
  }

  private void showCount() {
    TextView count = findViewById(R.id.count);
    count.setText(getString(R.string.num_selected, selected.size(), listing.entries.size()));
    findViewById(R.id.measure).setEnabled(!selected.isEmpty());
  }

  private void delete(Models.Entry entry) {
    load(
        () -> {
          app().models().delete(entry);
          return app().models().list();
        },
        this::show);
  }

  @Override
  public boolean onCreateOptionsMenu(Menu menu) {
    getMenuInflater().inflate(R.menu.models, menu);
    return true;
  }

  @Override
  public boolean onOptionsItemSelected(MenuItem item) {
    if (item.getItemId() == R.id.add) {
      pick();
    } else if (item.getItemId() == R.id.history) {
      open(HistoryActivity.class);
    } else if (item.getItemId() == R.id.digit) {
      open(DigitActivity.class);
    } else {
      return super.onOptionsItemSelected(item);
    }
    return true;
  }

  private void open(Class<?> screen) {
    startActivity(new Intent(this, screen).putStringArrayListExtra(SELECTED, selected));
  }

  private void pick() {
    Intent intent =
        new Intent(Intent.ACTION_OPEN_DOCUMENT)
            .addCategory(Intent.CATEGORY_OPENABLE)
            .setType("*/*")
            .putExtra(Intent.EXTRA_ALLOW_MULTIPLE, true);
    startActivityForResult(intent, PICK);
  }

  @Override
  protected void onActivityResult(int request, int result, Intent data) {
    if (request != PICK || result != RESULT_OK || data == null) {
      return;
    }
    ClipData several = data.getClipData();
    if (several == null) {
      add(data.getData());
      return;
    }
    for (int i = 0; i < several.getItemCount(); i++) {
      add(several.getItemAt(i).getUri());
    }
  }

  private void add(Uri uri) {
    load(
        () -> copied(uri),
        model -> {
          selected.add(new Models.Entry(Models.Origin.PICKED, model).id());
          String size = Units.bytes(model.file.sizeBytes);
          String text = getString(R.string.model_added, model.name, size);
          Toast.makeText(this, text, Toast.LENGTH_LONG).show();
          reload();
        },
        problem -> showProblem(R.string.not_added, problem));
  }

  private ModelFile copied(Uri uri) throws IOException {
    try (InputStream stream = getContentResolver().openInputStream(uri)) {
      return app().models().add(displayName(uri), stream);
    }
  }

  private String displayName(Uri uri) {
    String[] columns = {OpenableColumns.DISPLAY_NAME};
    try (Cursor cursor = getContentResolver().query(uri, columns, null, null, null)) {
      boolean isNamed = cursor != null && cursor.moveToFirst() && !cursor.isNull(0);
      return isNamed ? cursor.getString(0) : String.valueOf(uri.getLastPathSegment());
    }
  }

  @Override
  protected void onSaveInstanceState(Bundle state) {
    super.onSaveInstanceState(state);
    state.putStringArrayList(SELECTED, selected);
  }
}
