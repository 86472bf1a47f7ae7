package org.tfcompress.benchmark.core;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads strict JSON (RFC 8259) into maps, lists, strings, booleans, {@code Long}, {@code Double}
 * and null.
 *
 * <p>Android's org.json and the one for the desktop differ in order, leniency and numbers, so tests
 * on one would not cover the other.
 */
final class JsonParser {
  private static final int MAX_DEPTH = 64;

  private final String text;
  private int position;
  private int depth;

  private JsonParser(String text) {
    this.text = text;
  }

  static Object parse(String text) {
    JsonParser parser = new JsonParser(text);
    Object value = parser.value();
    parser.skipSpace();
    if (parser.position < text.length()) {
      throw parser.error("nothing after the end");
    }
    return value;
  }

  private Object value() {
    skipSpace();
    switch (peek()) {
      case '{':
        return nested(true);
      case '[':
        return nested(false);
      case '"':
        return string();
      case 't':
        return word("true", Boolean.TRUE);
      case 'f':
        return word("false", Boolean.FALSE);
      case 'n':
        return word("null", null);
      default:
        return number();
    }
  }

  private Object nested(boolean isObject) {
    if (++depth > MAX_DEPTH) {
      throw error("at most " + MAX_DEPTH + " levels");
    }
    position++;
    Object value = isObject ? object() : list();
    depth--;
    return value;
  }

  private Map<String, Object> object() {
    Map<String, Object> values = new LinkedHashMap<>();
    if (ends('}')) {
      return values;
    }
    do {
      skipSpace();
      String key = string();
      skipSpace();
      expect(':');
      if (values.containsKey(key)) {
        throw error("\"" + key + "\" once");
      }
      values.put(key, value());
    } while (goesOn('}'));
    return values;
  }

  private List<Object> list() {
    List<Object> values = new ArrayList<>();
    if (ends(']')) {
      return values;
    }
    do {
      values.add(value());
    } while (goesOn(']'));
    return values;
  }

  private boolean ends(char end) {
    skipSpace();
    if (peek() != end) {
      return false;
    }
    position++;
    return true;
  }

  private boolean goesOn(char end) {
    if (ends(end)) {
      return false;
    }
    expect(',');
    return true;
  }

  private String string() {
    expect('"');
    StringBuilder result = new StringBuilder();
    while (peek() != '"') {
      char next = text.charAt(position++);
      if (next < ' ') {
        position--;
        throw error("no control character in a string");
      }
      result.append(next == '\\' ? escaped() : next);
    }
    position++;
    return result.toString();
  }

  private char escaped() {
    char next = peek();
    position++;
    switch (next) {
      case '"':
      case '\\':
      case '/':
        return next;
      case 'b':
        return '\b';
      case 'f':
        return '\f';
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'u':
        return hexadecimal();
      default:
        position--;
        throw error("an escape of JSON");
    }
  }

  private char hexadecimal() {
    int value = 0;
    for (int i = 0; i < 4; i++) {
      int digit = Character.digit(peek(), 16);
      if (digit < 0) {
        throw error("four hexadecimal digits");
      }
      value = 16 * value + digit;
      position++;
    }
    return (char) value;
  }

  private Object word(String word, Object value) {
    if (!text.startsWith(word, position)) {
      throw error("a value");
    }
    position += word.length();
    return value;
  }

  private Number number() {
    int start = position;
    skip('-');
    if (!skip('0')) {
      digits();
    }
    boolean isWhole = true;
    if (skip('.')) {
      digits();
      isWhole = false;
    }
    if (skip('e') || skip('E')) {
      if (!skip('+')) {
        skip('-');
      }
      digits();
      isWhole = false;
    }
    String number = text.substring(start, position);
    return isWhole ? whole(number) : real(number);
  }

  private Number whole(String number) {
    try {
      return Long.valueOf(number);
    } catch (NumberFormatException tooLong) {
      return real(number);
    }
  }

  private Number real(String number) {
    Double value = Double.valueOf(number);
    if (value.isInfinite()) {
      throw error("a number below 1.8e308");
    }
    return value;
  }

  private void digits() {
    int start = position;
    while (position < text.length() && isDigit(text.charAt(position))) {
      position++;
    }
    if (position == start) {
      throw error("a value");
    }
  }

  private static boolean isDigit(char character) {
    return '0' <= character && character <= '9';
  }

  private boolean skip(char character) {
    if (position == text.length() || text.charAt(position) != character) {
      return false;
    }
    position++;
    return true;
  }

  private void expect(char character) {
    if (!skip(character)) {
      throw error("'" + character + "'");
    }
  }

  private char peek() {
    if (position == text.length()) {
      throw error("more: the text is cut off");
    }
    return text.charAt(position);
  }

  private void skipSpace() {
    while (position < text.length() && " \t\n\r".indexOf(text.charAt(position)) >= 0) {
      position++;
    }
  }

  private IllegalArgumentException error(String expected) {
    int line = 1;
    int column = 1;
    for (char character : text.substring(0, position).toCharArray()) {
      column = character == '\n' ? 1 : column + 1;
      line += character == '\n' ? 1 : 0;
    }
    return new IllegalArgumentException(
        "Not JSON at line " + line + ", column " + column + ": expected " + expected + ".");
  }
}
