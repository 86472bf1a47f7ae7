package org.tfcompress.benchmark;

import android.os.Handler;
import android.os.Looper;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Consumer;

/** One thread for work that would block the screen; results return on the main thread. */
final class Background {
  final ExecutorService executor;
  private final Handler main = new Handler(Looper.getMainLooper());

  Background(String name) {
    executor = Executors.newSingleThreadExecutor(work -> new Thread(work, name));
  }

  /** Does work; failures are described in words for the user. */
  <T> void run(Callable<T> work, Consumer<T> whenDone, Consumer<String> whenFailed) {
    executor.execute(
        () -> {
          try {
            T value = work.call();
            main.post(() -> whenDone.accept(value));
          } catch (Exception | LinkageError | OutOfMemoryError error) {
            main.post(() -> whenFailed.accept(message(error)));
          }
        });
  }

  void onMain(Runnable action) {
    main.post(action);
  }

  static String message(Throwable error) {
    return error.getMessage() == null ? error.toString() : error.getMessage();
  }
}
