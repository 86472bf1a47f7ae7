package org.tfcompress.benchmark;

import android.content.Context;
import android.content.SharedPreferences;
import java.util.List;
import org.tfcompress.benchmark.core.Backend;
import org.tfcompress.benchmark.core.JsonObject;
import org.tfcompress.benchmark.core.Plan;

/** Remembers how models were measured last. */
final class PlanStore {
  private static final String KEY = "plan";

  private final SharedPreferences preferences;
  private final List<Backend> offered;

  PlanStore(Context context) {
    preferences = context.getSharedPreferences("plan", Context.MODE_PRIVATE);
    offered = BenchmarkApplication.of(context).backends();
  }

  /** The last plan, on a backend that is offered. */
  Plan load() {
    Plan plan = stored();
    boolean isOffered = offered.contains(plan.backend);
    return isOffered ? plan : plan.toBuilder().backend(offered.get(0)).build();
  }

  private Plan stored() {
    String text = preferences.getString(KEY, "");
    try {
      return Plan.fromJson(JsonObject.parse(text, "plan"));
    } catch (IllegalArgumentException noneOrOfAnotherVersion) {
      return new Plan.Builder().build();
    }
  }

  void save(Plan plan) {
    preferences.edit().putString(KEY, plan.toJson().toString()).apply();
  }
}
