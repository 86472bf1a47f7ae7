package org.tfcompress.benchmark;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.tfcompress.benchmark.core.Clock;
import org.tfcompress.benchmark.core.DigitPicture;
import org.tfcompress.benchmark.core.Engine;
import org.tfcompress.benchmark.core.Evaluation;
import org.tfcompress.benchmark.core.ModelFile;
import org.tfcompress.benchmark.core.Plan;
import org.tfcompress.benchmark.core.Session;
import org.tfcompress.benchmark.core.TensorSpec;

/** Models that read a drawn digit; everything runs on one thread. */
final class DigitReader implements AutoCloseable {
  private static final int NUM_DIGITS = 10;
  private static final int MAX_SIDE = 128;

  /** Examples that show the brightness of the pictures a model was trained on. */
  private static final int NUM_EXAMPLES = 16;

  /** The answer of one model for a drawing. */
  static final class Answer {
    final String name;
    final int digit;
    final double share;
    final double latencyMs;

    /** The exit that answered, counted from 1, and the number of exits. */
    final int exit;

    final int numExits;

    /** Why it does not answer; empty if it does. */
    final String problem;

    private Answer(Session session, String name, int digit, double share, double latencyMs) {
      this.name = name;
      this.digit = digit;
      this.share = share;
      this.latencyMs = latencyMs;
      exit = session.exit();
      numExits = session.numExits();
      problem = "";
    }

    private Answer(String name, String problem) {
      this.name = name;
      this.problem = problem;
      digit = -1;
      share = Double.NaN;
      latencyMs = Double.NaN;
      exit = 1;
      numExits = 1;
    }
  }

  private static final class Reading {
    final String name;
    final Session session;
    final double brightest;
    final int side;

    Reading(ModelFile model, Session session) throws IOException {
      name = model.name;
      this.session = session;
      side = side(session.inputs());
      brightest = brightest(model, session.inputs().get(0));
    }
  }

  private final Clock clock;
  private final List<Session> sessions = new ArrayList<>();
  private final List<Reading> readings = new ArrayList<>();
  private final List<Answer> problems = new ArrayList<>();

  /** Opens the models that take one small grey picture and return ten numbers. */
  DigitReader(Engine engine, Clock clock, Plan plan, List<ModelFile> models) {
    this.clock = clock;
    for (ModelFile model : models) {
      if (model.inputs.isEmpty() || isReader(model.inputs, model.outputs)) {
        open(engine, plan, model);
      }
    }
  }

  private void open(Engine engine, Plan plan, ModelFile model) {
    try {
      Session session = engine.open(model.read(), plan);
      if (!isReader(session.inputs(), session.outputs())) {
        session.close();
        return;
      }
      sessions.add(session);
      readings.add(new Reading(model, session));
    } catch (Exception | LinkageError | OutOfMemoryError error) {
      problems.add(new Answer(model.name, Background.message(error)));
    }
  }

  private static boolean isReader(List<TensorSpec> inputs, List<TensorSpec> outputs) {
    return inputs.size() == 1
        && side(inputs) > 1
        && outputs.size() == 1
        && outputs.get(0).count() == NUM_DIGITS;
  }

  /** Side of the square grey picture that a model takes; 0 if it takes something else. */
  private static int side(List<TensorSpec> inputs) {
    int[] shape = inputs.get(0).shape();
    boolean isPicture = shape.length == 3 || (shape.length == 4 && shape[3] == 1);
    boolean isSquare = isPicture && shape[0] == 1 && shape[1] == shape[2];
    return isSquare && shape[1] <= MAX_SIDE ? shape[1] : 0;
  }

  /** Models expect pixels up to 1, 16 or 255, as their examples show. */
  private static double brightest(ModelFile model, TensorSpec input) throws IOException {
    if (!model.hasEvaluation()) {
      return 1;
    }
    Evaluation evaluation = model.evaluation();
    double brightest = 0;
    for (int i = 0; i < Math.min(evaluation.count(), NUM_EXAMPLES); i++) {
      for (float value : input.dequantized(evaluation.input(i, input))) {
        brightest = Math.max(brightest, value);
      }
    }
    return brightest;
  }

  boolean isEmpty() {
    return readings.isEmpty() && problems.isEmpty();
  }

  List<Answer> read(float[] ink, int width, int height) {
    List<Answer> answers = new ArrayList<>(problems);
    for (Reading reading : readings) {
      answers.add(answer(reading, ink, width, height));
    }
    return answers;
  }

  private Answer answer(Reading reading, float[] ink, int width, int height) {
    Session session = reading.session;
    int margin = reading.side < 16 ? 0 : reading.side / 7;
    float[] picture = DigitPicture.shrink(ink, width, height, reading.side, margin);
    double[] values = new double[picture.length];
    for (int i = 0; i < values.length; i++) {
      values[i] = reading.brightest * picture[i];
    }
    session.setInput(0, session.inputs().get(0).quantized(values));
    session.run(); // the second one is as fast as in a benchmark
    long begin = clock.nanoseconds();
    session.run();
    double latencyMs = (clock.nanoseconds() - begin) / 1e6;
    float[] output = session.outputs().get(0).dequantized(session.output(0));
    int digit = top(output);
    return new Answer(session, reading.name, digit, share(output, digit), latencyMs);
  }

  private static int top(float[] output) {
    int top = 0;
    for (int i = 1; i < output.length; i++) {
      top = output[i] > output[top] ? i : top;
    }
    return top;
  }

  /** Share of the probability: outputs that do not sum to 1 are logits. */
  private static double share(float[] output, int index) {
    double sum = 0;
    double exponentials = 0;
    double least = 0;
    for (float value : output) {
      sum += value;
      exponentials += Math.exp(value - output[index]);
      least = Math.min(least, value);
    }
    boolean areShares = least >= 0 && Math.abs(sum - 1) < 0.1;
    return areShares ? output[index] / sum : 1 / exponentials;
  }

  @Override
  public void close() {
    sessions.forEach(Session::close);
  }
}
