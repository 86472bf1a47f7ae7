package org.tfcompress.benchmark.core;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.function.ToDoubleFunction;

/** Operating points from which a budget chooses one, as {@code tfc.dynamic.Policy} saves them. */
public final class PolicyTable {
  /** A limit of {@code choose} that is not set. */
  public static final double NO_LIMIT = Double.NaN;

  private static final int VERSION = 1;

  /** The cheapest first; none costs more than another of at least the same accuracy. */
  public final List<OperatingPoint> points;

  private PolicyTable(List<OperatingPoint> points) {
    this.points = Collections.unmodifiableList(points);
  }

  /**
   * Reads a file written by {@code Policy.save}.
   *
   * @throws IllegalArgumentException if it is not such a table
   */
  public static PolicyTable parse(String text) {
    JsonObject json = JsonObject.parse(text, "policy");
    if (json.whole("version") != VERSION) {
      throw json.wrong("version", VERSION + "; use the app and the toolkit of one release");
    }
    List<OperatingPoint> all =
        new ArrayList<>(Run.each(json.objects("points"), OperatingPoint::fromJson));
    if (all.isEmpty()) {
      throw json.wrong("points", "a list of operating points");
    }
    Comparator<OperatingPoint> byCost = Comparator.comparingDouble(point -> point.macs);
    all.sort(byCost.thenComparingDouble(point -> -point.accuracy));
    List<OperatingPoint> better = new ArrayList<>();
    for (OperatingPoint point : all) {
      if (better.isEmpty() || point.accuracy > better.get(better.size() - 1).accuracy) {
        better.add(point);
      }
    }
    return new PolicyTable(better);
  }

  /**
   * The most accurate point within a budget.
   *
   * <p>If level = min(battery, headroom) is below {@code comfortable}, multiply-accumulates may be
   * at most cheapest + level / comfortable · (dearest − cheapest): an empty battery or a hot device
   * runs the cheapest point, which is never refused for that reason.
   *
   * @param latencyMs upper limit per sample; or {@code NO_LIMIT}
   * @param macs upper limit per sample; or {@code NO_LIMIT}
   * @param battery charge from 0 (empty) to 1 (full)
   * @param headroom from 0 (about to throttle) to 1 (cool): {@code 1 - min(1, h)} for Android's
   *     {@code PowerManager.getThermalHeadroom}
   * @param comfortable from 0 to 1, the level from which on nothing is saved
   * @throws IllegalArgumentException if no point meets a limit; the message gives the smallest
   */
  public OperatingPoint choose(
      double latencyMs, double macs, double battery, double headroom, double comfortable) {
    Check.between(0, 1, battery, "battery");
    Check.between(0, 1, headroom, "headroom");
    Check.between(0, 1, comfortable, "comfortable");
    List<OperatingPoint> allowed = within("latencyMs", latencyMs, points, point -> point.latencyMs);
    allowed = within("macs", macs, allowed, point -> point.macs);
    double level = Math.min(battery, headroom);
    double share = level >= comfortable ? 1 : level / comfortable;
    double cheapest = points.get(0).macs;
    double limit = cheapest + share * (points.get(points.size() - 1).macs - cheapest);
    OperatingPoint chosen = allowed.get(0);
    for (OperatingPoint point : allowed) {
      chosen = point.macs <= limit ? point : chosen;
    }
    return chosen;
  }

  private List<OperatingPoint> within(
      String name, double most, List<OperatingPoint> from, ToDoubleFunction<OperatingPoint> cost) {
    if (Double.isNaN(most)) {
      return from;
    }
    if (most <= 0) {
      throw new IllegalArgumentException(name + " must be above 0; got " + most + ".");
    }
    for (OperatingPoint point : points) {
      if (Double.isNaN(cost.applyAsDouble(point))) {
        throw new IllegalArgumentException(
            "Not all points have a " + name + "; expected a table of points that were measured.");
      }
    }
    List<OperatingPoint> found = new ArrayList<>();
    double smallest = Double.POSITIVE_INFINITY;
    for (OperatingPoint point : from) {
      smallest = Math.min(smallest, cost.applyAsDouble(point));
      if (cost.applyAsDouble(point) <= most) {
        found.add(point);
      }
    }
    if (found.isEmpty()) {
      throw new IllegalArgumentException(
          name + ": nothing is within " + most + "; the smallest is " + smallest + ".");
    }
    return found;
  }
}
