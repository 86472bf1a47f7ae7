package org.tfcompress.benchmark.core;

import java.util.Iterator;
import java.util.List;
import java.util.Map;

/** Writes JSON with two spaces per level, and lists of plain values on one line. */
final class JsonWriter {
  private final StringBuilder text = new StringBuilder();

  static String write(Object value) {
    JsonWriter writer = new JsonWriter();
    writer.value(value, "\n");
    return writer.text.toString();
  }

  private void value(Object value, String newLine) {
    if (value instanceof JsonObject) {
      object(((JsonObject) value).values(), newLine);
    } else if (value instanceof List) {
      list((List<?>) value, newLine);
    } else if (value instanceof double[]) {
      numbers((double[]) value);
    } else if (value instanceof String) {
      string((String) value);
    } else {
      text.append(plain(value));
    }
  }

  private static Object plain(Object value) {
    boolean isReal = value instanceof Double;
    if (isReal && (((Double) value).isNaN() || ((Double) value).isInfinite())) {
      throw new IllegalArgumentException("JSON has no number for " + value + ".");
    }
    return value;
  }

  private void object(Map<String, Object> values, String newLine) {
    if (values.isEmpty()) {
      text.append("{}");
      return;
    }
    String separator = "{";
    for (Map.Entry<String, Object> entry : values.entrySet()) {
      text.append(separator).append(newLine).append("  ");
      string(entry.getKey());
      text.append(": ");
      value(entry.getValue(), newLine + "  ");
      separator = ",";
    }
    text.append(newLine).append('}');
  }

  private void list(List<?> values, String newLine) {
    boolean isNested = !values.isEmpty() && values.get(0) instanceof JsonObject;
    String before = isNested ? newLine + "  " : "";
    text.append('[');
    Iterator<?> remaining = values.iterator();
    while (remaining.hasNext()) {
      text.append(before);
      value(remaining.next(), newLine + "  ");
      text.append(remaining.hasNext() ? isNested ? "," : ", " : "");
    }
    text.append(isNested ? newLine : "").append(']');
  }

  private void numbers(double[] values) {
    String separator = "[";
    for (double value : values) {
      text.append(separator).append(plain(value));
      separator = ", ";
    }
    text.append(values.length == 0 ? "[]" : "]");
  }

  private void string(String value) {
    text.append('"');
    for (char character : value.toCharArray()) {
      if (character == '"' || character == '\\') {
        text.append('\\').append(character);
      } else if (character < ' ') {
        text.append(String.format("\\u%04x", (int) character));
      } else {
        text.append(character);
      }
    }
    text.append('"');
  }
}
