package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;

import java.util.Arrays;
import org.junit.Test;

public class JsonObjectTest {
  private static JsonObject parse(String text) {
    return JsonObject.parse(text, "it");
  }

  @Test
  public void readsEveryKindOfValue() {
    JsonObject json =
        parse(
            " {\"a\":-1.5e2,\"b\":[1,2.5],\"c\":\"\\u00e9\\n\\\"/\","
                + "\"d\":true,\"e\":null,\"f\":{}}");
    assertEquals(-150, json.number("a"), 0);
    assertArrayEquals(new double[] {1, 2.5}, json.numbers("b"), 0);
    assertEquals("\u00e9\n\"/", json.text("c"));
    assertEquals(true, json.bool("d", false));
    assertFalse(json.has("e"));
    assertEquals(0, json.object("f").keys().size());
  }

  @Test
  public void writesWhatItReads() {
    String text =
        "{\n  \"text\": \"a\\\"\\\\\\u0001\u00e9\",\n  \"whole\": 3,\n  \"real\": 0.5,\n"
            + "  \"list\": [1.0, 2.0],\n  \"none\": null,\n  \"objects\": [\n    {\n"
            + "      \"a\": true\n    },\n    {}\n  ]\n}";
    JsonObject json =
        new JsonObject()
            .put("text", "a\"\\\u0001\u00e9")
            .put("whole", 3)
            .put("real", 0.5)
            .put("list", new double[] {1, 2})
            .put("none", Double.NaN)
            .put("objects", Arrays.asList(new JsonObject().put("a", true), new JsonObject()));
    assertEquals(text, json.toString());
    assertEquals("a\"\\\u0001\u00e9", parse(text).text("text"));
    assertEquals(2, parse(text).objects("objects").size());
  }

  @Test
  public void wholeNumbersStayExact() {
    assertEquals(9007199254740993L, parse("{\"a\":9007199254740993}").whole("a"));
    assertEquals(1e30, parse("{\"a\":1" + zeros(30) + "}").number("a"), 0);
  }

  private static String zeros(int count) {
    return new String(new char[count]).replace('\0', '0');
  }

  @Test
  public void errorsNameThePlace() {
    JsonObject json = parse("{\"a\":\"two\",\"b\":[{},{\"c\":1.5}],\"d\":3000000000}");
    assertEquals("it.a must be a whole number; got \"two\".", Errors.of(() -> json.whole("a")));
    assertEquals("it.z must be text; it is missing.", Errors.of(() -> json.text("z")));
    assertEquals(
        "it.b[1].c must be a whole number; got 1.5.",
        Errors.of(() -> json.objects("b").get(1).whole("c")));
    assertEquals(
        "it.d must be a whole number below 2^31; got 3000000000.",
        Errors.of(() -> json.integer("d")));
    assertEquals("it must be an object; got 3.", Errors.of(() -> parse("3")));
  }

  @Test
  public void refusesWhatIsNotJson() {
    String cut = "Not JSON at line 2, column 5: expected more: the text is cut off.";
    assertEquals(cut, Errors.of(() -> parse("{\n\"a\":")));
    String[] wrong = {
      "", "{", "{\"a\":1,}", "{\"a\" 1}", "{'a':1}", "{\"a\":1} x", "{\"a\":NaN}", "{\"a\":.5}",
      "{\"a\":01}", "{\"a\":1.}", "{\"a\":+1}", "{\"a\":\"\n\"}", "{\"a\":\"\\x\"}",
      "{\"a\":\"\\u12g4\"}", "{\"a\":tru}", "{\"a\":1,\"a\":2}", "{\"a\":[1 2]}", "{\"a\":-}",
      "{\"a\":1e999}"
    };
    for (String text : wrong) {
      assertEquals(text, "Not JSON at", Errors.of(() -> parse(text)).substring(0, 11));
    }
  }

  @Test
  public void refusesTooManyLevels() {
    String deep = new String(new char[100_000]).replace('\0', '[');
    assertEquals(
        "Not JSON at line 1, column 65: expected at most 64 levels.",
        Errors.of(() -> parse(deep)));
  }

  @Test
  public void refusesNumbersThatJsonLacks() {
    JsonObject json = new JsonObject().put("a", new double[] {1, Double.POSITIVE_INFINITY});
    assertEquals("JSON has no number for Infinity.", Errors.of(json::toString));
  }
}
