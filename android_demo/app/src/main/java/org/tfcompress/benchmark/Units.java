package org.tfcompress.benchmark;

import java.util.Locale;

/** Numbers with units, as screens show them; a dash stands for unknown values. */
final class Units {
  static final String UNKNOWN = "–";

  private Units() {}

  /** About three significant digits. */
  static String ms(double milliseconds) {
    return ms(milliseconds, decimals(milliseconds));
  }

  static String ms(double milliseconds, int decimals) {
    return Double.isNaN(milliseconds) ? UNKNOWN : number(milliseconds, decimals) + " ms";
  }

  static String number(double value, int decimals) {
    return Double.isNaN(value)
        ? UNKNOWN
        : String.format(Locale.getDefault(), "%,." + decimals + "f", value);
  }

  /** Number of decimals that a column needs for its smallest number. */
  static int decimals(double smallest) {
    if (smallest < 0.1) {
      return 4;
    }
    return smallest < 1 ? 3 : smallest < 10 ? 2 : smallest < 100 ? 1 : 0;
  }

  /** In powers of 1000, as usual for files; −1 is unknown. */
  static String bytes(long bytes) {
    if (bytes < 0) {
      return UNKNOWN;
    }
    if (bytes < 1000) {
      return bytes + " B";
    }
    String[] units = {"kB", "MB", "GB"};
    double value = bytes / 1000.0;
    int unit = 0;
    while (value >= 999.5 && unit < units.length - 1) {
      value /= 1000;
      unit++;
    }
    return number(value, value < 9.95 ? 2 : value < 99.5 ? 1 : 0) + " " + units[unit];
  }

  static String percent(double fraction) {
    return Double.isNaN(fraction) ? UNKNOWN : number(100 * fraction, 1) + " %";
  }

  static String times(double ratio) {
    return number(ratio, ratio < 0.095 ? 3 : ratio < 9.95 ? 2 : 1) + "×";
  }

  /** Such as 45 s, 2 min or 2 min 30 s. */
  static String seconds(double seconds) {
    if (seconds < 60) {
      return number(seconds, seconds == Math.rint(seconds) ? 0 : 1) + " s";
    }
    long whole = Math.round(seconds);
    return whole / 60 + " min" + (whole % 60 == 0 ? "" : " " + whole % 60 + " s");
  }
}
