package org.tfcompress.benchmark;

import android.content.ContentProvider;
import android.content.ContentValues;
import android.content.Context;
import android.content.Intent;
import android.database.Cursor;
import android.database.MatrixCursor;
import android.net.Uri;
import android.os.ParcelFileDescriptor;
import android.provider.OpenableColumns;
import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.tfcompress.benchmark.core.AtomicFile;
import org.tfcompress.benchmark.core.Result;
import org.tfcompress.benchmark.core.ResultCsv;

/** Copies of results that the user shares, readable by the app they are shared with. */
public final class SharedFiles extends ContentProvider {
  static final String AUTHORITY = "org.tfcompress.benchmark.shared";

  /** The format in which results are shared. */
  enum Format {
    JSON("application/json") {
      @Override
      String text(Result result) {
        return result.toJson();
      }
    },
    CSV("text/csv") {
      @Override
      String text(Result result) {
        return ResultCsv.write(result);
      }
    };

    final String type;

    Format(String type) {
      this.type = type;
    }

    abstract String text(Result result);
  }

  /** An intent that sends the results to which runs belong, each as one file. */
  static Intent intent(Context context, List<Measured> runs, Format format) throws IOException {
    ArrayList<Uri> uris = new ArrayList<>();
    for (File file : Measured.files(runs)) {
      Result result =
          runs.stream().filter(one -> one.file.equals(file)).findFirst().get().result;
      String name = file.getName().replaceAll("\\.json$", "") + "." + extension(format);
      AtomicFile.write(new File(folder(context), name), format.text(result));
      uris.add(new Uri.Builder().scheme("content").authority(AUTHORITY).path(name).build());
    }
    Intent intent =
        uris.size() == 1
            ? new Intent(Intent.ACTION_SEND).putExtra(Intent.EXTRA_STREAM, uris.get(0))
            : new Intent(Intent.ACTION_SEND_MULTIPLE)
                .putParcelableArrayListExtra(Intent.EXTRA_STREAM, uris);
    return intent.setType(format.type).addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION);
  }

  private static String extension(Format format) {
    return format == Format.JSON ? "json" : "csv";
  }

  private static File folder(Context context) throws IOException {
    File folder = new File(context.getCacheDir(), "shared");
    if (!folder.isDirectory() && !folder.mkdirs()) {
      throw new IOException("Cannot make the folder " + folder + ".");
    }
    return folder;
  }

  /** Only the last part of the URI is used, so no other folder can be reached. */
  private File file(Uri uri) throws FileNotFoundException {
    try {
      return new File(folder(getContext()), new File(uri.getLastPathSegment()).getName());
    } catch (IOException error) {
      throw new FileNotFoundException(error.getMessage());
    }
  }

  @Override
  public ParcelFileDescriptor openFile(Uri uri, String mode) throws FileNotFoundException {
    if (!mode.equals("r")) {
      throw new SecurityException("Shared results can only be read; got mode " + mode + ".");
    }
    File file = file(uri);
    if (!file.isFile()) {
      throw new FileNotFoundException("Not shared, or not any more: " + uri + ".");
    }
    return ParcelFileDescriptor.open(file, ParcelFileDescriptor.MODE_READ_ONLY);
  }

  @Override
  public Cursor query(
      Uri uri, String[] projection, String selection, String[] arguments, String order) {
    MatrixCursor cursor =
        new MatrixCursor(new String[] {OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE});
    try {
      File file = file(uri);
      cursor.addRow(new Object[] {file.getName(), file.length()});
    } catch (FileNotFoundException missing) {
      // No row.
    }
    return cursor;
  }

  @Override
  public String getType(Uri uri) {
    boolean isCsv = String.valueOf(uri.getLastPathSegment()).endsWith(".csv");
    return (isCsv ? Format.CSV : Format.JSON).type;
  }

  @Override
  public boolean onCreate() {
    return true;
  }

  @Override
  public Uri insert(Uri uri, ContentValues values) {
    throw new UnsupportedOperationException("Shared results can only be read.");
  }

  @Override
  public int delete(Uri uri, String selection, String[] arguments) {
    throw new UnsupportedOperationException("Shared results can only be read.");
  }

  @Override
  public int update(Uri uri, ContentValues values, String selection, String[] arguments) {
    throw new UnsupportedOperationException("Shared results can only be read.");
  }
}
