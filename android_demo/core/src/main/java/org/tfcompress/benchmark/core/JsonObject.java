package org.tfcompress.benchmark.core;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A JSON object whose values are read by type.
 *
 * <p>A missing value, or one of another type, raises an {@code IllegalArgumentException} that names
 * the place, such as {@code result.runs[2].samples_ms}. Unknown numbers are NaN in Java and null in
 * JSON.
 */
public final class JsonObject {
  private final Map<String, Object> values;
  private final String place;

  public JsonObject() {
    this(new LinkedHashMap<>(), "");
  }

  private JsonObject(Map<String, Object> values, String place) {
    this.values = values;
    this.place = place;
  }

  /** Reads a text whose outermost value is an object; errors call it {@code name}. */
  public static JsonObject parse(String text, String name) {
    return object(JsonParser.parse(text), name);
  }

  /** The object as indented JSON. */
  @Override
  public String toString() {
    return JsonWriter.write(this);
  }

  Map<String, Object> values() {
    return values;
  }

  /** Adds text, a number, a boolean, null, {@code double[]}, a JsonObject, or a list of these. */
  public JsonObject put(String key, Object value) {
    boolean isUnknown = value instanceof Double && ((Double) value).isNaN();
    values.put(key, isUnknown ? null : value);
    return this;
  }

  /** Whether there is a value that is not null. */
  public boolean has(String key) {
    return values.get(key) != null;
  }

  public List<String> keys() {
    return new ArrayList<>(values.keySet());
  }

  public String text(String key) {
    Object value = values.get(key);
    if (value instanceof String) {
      return (String) value;
    }
    throw wrong(key, "text");
  }

  public String text(String key, String otherwise) {
    return has(key) ? text(key) : otherwise;
  }

  public boolean bool(String key, boolean otherwise) {
    Object value = has(key) ? values.get(key) : otherwise;
    if (value instanceof Boolean) {
      return (Boolean) value;
    }
    throw wrong(key, "true or false");
  }

  public double number(String key) {
    Object value = values.get(key);
    if (value instanceof Number) {
      return ((Number) value).doubleValue();
    }
    throw wrong(key, "a number");
  }

  public double number(String key, double otherwise) {
    return has(key) ? number(key) : otherwise;
  }

  public long whole(String key) {
    Object value = values.get(key);
    if (value instanceof Long || value instanceof Integer) {
      return ((Number) value).longValue();
    }
    throw wrong(key, "a whole number");
  }

  public long whole(String key, long otherwise) {
    return has(key) ? whole(key) : otherwise;
  }

  public int integer(String key) {
    long value = whole(key);
    if (value != (int) value) {
      throw wrong(key, "a whole number below 2^31");
    }
    return (int) value;
  }

  public int integer(String key, int otherwise) {
    return has(key) ? integer(key) : otherwise;
  }

  public JsonObject object(String key) {
    return object(values.get(key), place + "." + key);
  }

  /** The objects of a list; none if there is no such list. */
  public List<JsonObject> objects(String key) {
    List<JsonObject> objects = new ArrayList<>();
    for (Object value : list(key)) {
      objects.add(object(value, place + "." + key + "[" + objects.size() + "]"));
    }
    return objects;
  }

  /** The numbers of a list; none if there is no such list. */
  public double[] numbers(String key) {
    List<?> list = list(key);
    double[] numbers = new double[list.size()];
    for (int i = 0; i < numbers.length; i++) {
      if (!(list.get(i) instanceof Number)) {
        throw wrong(key, "a list of numbers");
      }
      numbers[i] = ((Number) list.get(i)).doubleValue();
    }
    return numbers;
  }

  /** The texts of a list; none if there is no such list. */
  public List<String> texts(String key) {
    List<String> texts = new ArrayList<>();
    for (Object value : list(key)) {
      if (!(value instanceof String)) {
        throw wrong(key, "a list of texts");
      }
      texts.add((String) value);
    }
    return texts;
  }

  private List<?> list(String key) {
    Object value = has(key) ? values.get(key) : new ArrayList<>();
    if (value instanceof List) {
      return (List<?>) value;
    }
    throw wrong(key, "a list");
  }

  /** Refuses other formats and versions, naming both. */
  public void checkFormat(String format, int version) {
    if (!format.equals(values.get("format"))) {
      throw wrong("format", '"' + format + '"');
    }
    if (whole("version") != version) {
      throw wrong("version", version + "; use the app and the toolkit of one release");
    }
  }

  /** An error about the value of a key. */
  public IllegalArgumentException wrong(String key, String expected) {
    return error(place + "." + key, expected, values.containsKey(key), values.get(key));
  }

  @SuppressWarnings("unchecked")
  private static JsonObject object(Object value, String place) {
    if (value instanceof JsonObject) {
      return (JsonObject) value;
    }
    if (value instanceof Map) {
      return new JsonObject((Map<String, Object>) value, place);
    }
    throw error(place, "an object", value != null, value);
  }

  private static IllegalArgumentException error(
      String place, String expected, boolean isThere, Object value) {
    String got = isThere ? "got " + shown(value) : "it is missing";
    return new IllegalArgumentException(place + " must be " + expected + "; " + got + ".");
  }

  private static String shown(Object value) {
    String text = JsonWriter.write(value);
    return text.length() <= 60 ? text : text.substring(0, 57) + "...";
  }
}
