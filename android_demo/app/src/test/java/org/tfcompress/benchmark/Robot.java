package org.tfcompress.benchmark;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNotNull;
import static org.junit.Assert.assertTrue;
import static org.robolectric.Shadows.shadowOf;

import android.app.Activity;
import android.content.Intent;
import android.os.Looper;
import android.text.Layout;
import android.view.View;
import android.view.ViewGroup;
import android.widget.EditText;
import android.widget.TextView;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.robolectric.Robolectric;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.android.controller.ActivityController;
import org.tfcompress.benchmark.core.ModelFile;
import org.tfcompress.benchmark.core.Plan;

/** Uses the app like a person, and reads what is shown. */
final class Robot {
  private Robot() {}

  static TestApplication app() {
    return (TestApplication) anyApp();
  }

  private static BenchmarkApplication anyApp() {
    return (BenchmarkApplication) RuntimeEnvironment.getApplication();
  }

  static <T extends Activity> ActivityController<T> open(Class<T> screen, Intent intent) {
    ActivityController<T> controller = Robolectric.buildActivity(screen, intent).setup();
    settle();
    return controller;
  }

  static <T extends Activity> ActivityController<T> open(Class<T> screen) {
    return open(screen, new Intent(app(), screen));
  }

  /** Opens the screen that another one started. */
  static <T extends Activity> T follow(Activity from, Class<T> screen) {
    Intent intent = shadowOf(from).getNextStartedActivity();
    assertNotNull(from + " started no other screen", intent);
    assertEquals(screen.getName(), intent.getComponent().getClassName());
    return open(screen, intent).get();
  }

  /** Waits for background work, and lets the screen show its result. */
  static void settle() {
    for (int i = 0; i < 5; i++) {
      drain(anyApp().files);
      shadowOf(Looper.getMainLooper()).idle();
    }
  }

  private static void drain(Background background) {
    try {
      background.executor.submit(() -> {}).get(60, TimeUnit.SECONDS);
    } catch (Exception error) {
      throw new AssertionError("The work in the background does not end.", error);
    }
  }

  /** Starts a benchmark without its screens. */
  static void start(Plan plan, String... ids) {
    List<ModelFile> models = app().models().list().chosen(Arrays.asList(ids));
    assertEquals(ids.length, models.size());
    app()
        .runner()
        .start(app().benchmark(), () -> models, plan, result -> app().history().save(result));
  }

  /** The file of a result. */
  static File measured(Plan plan, String... ids) {
    start(plan, ids);
    finishRun();
    assertEquals(RunState.Stage.DONE, app().runner().state().stage);
    return app().runner().state().file;
  }

  /** Waits until the running benchmark is finished. */
  static void finishRun() {
    for (int i = 0; i < 2; i++) {
      drain(anyApp().runner().background);
      settle();
    }
  }

  static void awaitPause() throws InterruptedException {
    assertTrue(app().engine.paused.await(60, TimeUnit.SECONDS));
    settle();
  }

  static ActivityController<?> rotate(ActivityController<?> controller) {
    RuntimeEnvironment.setQualifiers("+land");
    controller.configurationChange().visible();
    settle();
    return controller;
  }

  /** A file that the fake engine plays; what it does is JSON. */
  static File push(String name, String behaviour) throws IOException {
    File folder = app().models().pushedFolder("models");
    folder.mkdirs();
    File file = new File(folder, name);
    Files.write(file.toPath(), model(behaviour));
    return file;
  }

  static byte[] model(String behaviour) {
    return ("fakeTFL3" + behaviour).getBytes(StandardCharsets.UTF_8);
  }

  static void click(Activity screen, String text) {
    View view = find(screen, text);
    while (!view.isClickable()) {
      view = (View) view.getParent();
    }
    assertTrue(text + " cannot be clicked", view.isEnabled());
    view.performClick();
    settle();
  }

  static void assertShows(Activity screen, String text) {
    assertTrue("No \"" + text + "\" in: " + texts(screen), texts(screen).contains(text));
  }

  static String texts(Activity screen) {
    List<String> texts = new ArrayList<>();
    for (View view : views(screen)) {
      if (view instanceof TextView) {
        texts.add(((TextView) view).getText().toString());
      }
    }
    return String.join("\n", texts);
  }

  static List<View> views(Activity screen) {
    List<View> views = new ArrayList<>();
    collect(screen.getWindow().getDecorView(), views);
    return views;
  }

  private static void collect(View view, List<View> views) {
    if (view.getVisibility() != View.VISIBLE) {
      return;
    }
    views.add(view);
    if (view instanceof ViewGroup) {
      for (int i = 0; i < ((ViewGroup) view).getChildCount(); i++) {
        collect(((ViewGroup) view).getChildAt(i), views);
      }
    }
  }

  /** The first view with this text or description. */
  static View find(Activity screen, String text) {
    for (View view : views(screen)) {
      boolean hasText =
          view instanceof TextView && text.equals(((TextView) view).getText().toString());
      if (hasText || text.contentEquals(String.valueOf(view.getContentDescription()))) {
        return view;
      }
    }
    throw new AssertionError("There is no \"" + text + "\" in: " + texts(screen));
  }

  /** Checks that everything shown can be read, touched, and spoken. */
  static void assertUsable(Activity screen) {
    float least = 47.5f * screen.getResources().getDisplayMetrics().density;
    for (View view : views(screen)) {
      String name = view + " with \"" + text(view) + "\"";
      boolean isTouched = view.isClickable() && view.isEnabled() && view.getWidth() > 0;
      if (isTouched && !(view instanceof TextView && ((TextView) view).isTextSelectable())) {
        assertTrue(name + " is too low: " + view.getHeight(), view.getHeight() >= least);
        assertTrue(name + " is too narrow: " + view.getWidth(), view.getWidth() >= least);
        assertTrue(name + " says nothing", speaks(view));
      }
      if (view instanceof TextView && !(view instanceof EditText)) {
        assertNotCutOff(name, (TextView) view);
      }
    }
  }

  private static String text(View view) {
    return view instanceof TextView ? ((TextView) view).getText().toString() : "";
  }

  private static boolean speaks(View view) {
    boolean hasHint = view instanceof EditText && ((EditText) view).getHint() != null;
    if (hasHint || !text(view).isEmpty() || view.getContentDescription() != null) {
      return true;
    }
    List<View> inside = new ArrayList<>();
    collect(view, inside);
    return inside.stream().anyMatch(part -> part != view && !text(part).isEmpty());
  }

  private static void assertNotCutOff(String name, TextView view) {
    Layout layout = view.getLayout();
    if (layout == null || view.getWidth() == 0) {
      return;
    }
    int space = view.getHeight() - view.getTotalPaddingTop() - view.getTotalPaddingBottom();
    assertTrue(name + " is cut off", layout.getHeight() <= space + 1);
    for (int i = 0; i < layout.getLineCount(); i++) {
      assertEquals(name + " is shortened", 0, layout.getEllipsisCount(i));
    }
  }
}
