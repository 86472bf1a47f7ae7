package org.tfcompress.benchmark;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.runner.JUnitCore;
import org.junit.runner.Result;
import org.junit.runner.notification.Failure;

/** Runs all tests of the screens and counts them. */
public final class AllTests {
  private static final Class<?>[] CLASSES = {
    LooksTest.class, WholeTest.class, UseTest.class, ContrastTest.class,
    ProcessMemoryTest.class, PicturesTest.class
  };

  private AllTests() {}

  public static void main(String[] arguments) {
    List<Class<?>> classes = new ArrayList<>(Arrays.asList(CLASSES));
    if (Boolean.getBoolean("real")) {
      classes.add(RealTest.class);
    }
    Result result = JUnitCore.runClasses(classes.toArray(new Class<?>[0]));
    for (Failure failure : result.getFailures()) {
      System.out.println(failure.getTestHeader() + ": " + failure.getTrimmedTrace());
    }
    int passed = result.getRunCount() - result.getFailureCount();
    System.out.println(passed + " passed, " + result.getFailureCount() + " failed");
    System.exit(result.wasSuccessful() && passed > 0 ? 0 : 1);
  }
}
