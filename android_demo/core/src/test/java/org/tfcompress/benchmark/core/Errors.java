package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertThrows;

/** The messages of errors. */
final class Errors {
  private Errors() {}

  interface Action {
    void run() throws Exception;
  }

  static String of(Class<? extends Exception> type, Action action) {
    return assertThrows(type, action::run).getMessage();
  }

  static String of(Action action) {
    return of(IllegalArgumentException.class, action);
  }
}
