package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertEquals;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.Test;

/** Every key that is written is in the schema, and every key of the schema is written. */
public class SchemaTest {
  private static JsonObject schema() throws IOException {
    return JsonObject.parse(Resources.text("result.schema.json"), "schema");
  }

  private static void assertKeys(JsonObject schema, JsonObject written) {
    List<String> expected = new ArrayList<>(schema.object("properties").keys());
    assertEquals(expected, written.keys());
  }

  @Test
  public void keysAreThoseOfTheSchema() throws IOException {
    JsonObject result = JsonObject.parse(Examples.result().toJson(), "result");
    JsonObject parts = schema().object("$defs");
    assertKeys(schema(), result);
    for (String part : new String[] {"device", "runtime", "plan"}) {
      assertKeys(parts.object(part), result.object(part));
    }
    JsonObject properties = parts.object("run").object("properties");
    for (JsonObject run : result.objects("runs")) {
      assertKeys(parts.object("run"), run);
    }
    JsonObject run = result.objects("runs").get(0);
    for (String part : new String[] {"model", "memory", "nodes", "accuracy", "agreement"}) {
      assertKeys(properties.object(part), run.object(part));
    }
    for (String part : new String[] {"profile", "conditions", "sustained"}) {
      assertKeys(properties.object(part).object("items"), run.objects(part).get(0));
    }
  }
}
