package org.tfcompress.benchmark.core;

import java.text.ParseException;
import java.text.SimpleDateFormat;
import java.util.Date;
import java.util.Locale;
import java.util.TimeZone;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Dates of RFC 3339, such as 2026-11-28T20:01:24Z; java.time needs Android 8. */
final class Timestamp {
  private static final Pattern PATTERN =
      Pattern.compile("(\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d)(\\.\\d+)?(Z|[+-]\\d\\d:\\d\\d)");

  private Timestamp() {}

  static String of(long millisecondsSince1970) {
    return format("yyyy-MM-dd'T'HH:mm:ss'Z'").format(new Date(millisecondsSince1970));
  }

  static long millisecondsSince1970(String text) {
    Matcher matcher = PATTERN.matcher(text);
    if (!matcher.matches()) {
      throw wrong(text);
    }
    String fraction = matcher.group(2) == null ? "0" : "0" + matcher.group(2);
    try {
      long seconds =
          format("yyyy-MM-dd'T'HH:mm:ssXXX").parse(matcher.group(1) + matcher.group(3)).getTime();
      return seconds + (long) (1000 * Double.parseDouble(fraction));
    } catch (ParseException error) {
      throw wrong(text);
    }
  }

  private static SimpleDateFormat format(String pattern) {
    SimpleDateFormat format = new SimpleDateFormat(pattern, Locale.ROOT);
    format.setTimeZone(TimeZone.getTimeZone("UTC"));
    format.setLenient(false);
    return format;
  }

  private static IllegalArgumentException wrong(String text) {
    return new IllegalArgumentException(
        "started_at must be a date such as 2026-11-28T20:01:24Z; got \"" + text + "\".");
  }
}
