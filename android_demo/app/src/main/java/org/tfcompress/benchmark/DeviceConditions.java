package org.tfcompress.benchmark;

import android.content.Context;
import android.content.Intent;
import android.content.IntentFilter;
import android.os.BatteryManager;
import android.os.Build;
import android.os.PowerManager;
import android.os.SystemClock;
import org.tfcompress.benchmark.core.Conditions;
import org.tfcompress.benchmark.core.ConditionsSource;

/** Heat and battery, as reported by Android. */
final class DeviceConditions implements ConditionsSource {
  /** Android returns NaN if the headroom is requested more often than once per second. */
  private static final long HEADROOM_PAUSE_MS = 1100;

  private final Context context;
  private double headroom = Double.NaN;
  private long headroomMs = -HEADROOM_PAUSE_MS;

  DeviceConditions(Context context) {
    this.context = context;
  }

  @Override
  public synchronized Conditions now() {
    PowerManager power = context.getSystemService(PowerManager.class);
    Intent battery =
        context.registerReceiver(null, new IntentFilter(Intent.ACTION_BATTERY_CHANGED));
    return new Conditions(
        Build.VERSION.SDK_INT < Build.VERSION_CODES.Q ? -1 : power.getCurrentThermalStatus(),
        headroom(power),
        battery == null ? Double.NaN : celsius(battery),
        battery == null ? Double.NaN : percent(battery));
  }

  private double headroom(PowerManager power) {
    long nowMs = SystemClock.elapsedRealtime();
    if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R
        && nowMs - headroomMs >= HEADROOM_PAUSE_MS) {
      headroom = power.getThermalHeadroom(0);
      headroomMs = nowMs;
    }
    return headroom;
  }

  private static double celsius(Intent battery) {
    int tenths = battery.getIntExtra(BatteryManager.EXTRA_TEMPERATURE, Integer.MIN_VALUE);
    return tenths == Integer.MIN_VALUE ? Double.NaN : tenths / 10.0;
  }

  private static double percent(Intent battery) {
    int level = battery.getIntExtra(BatteryManager.EXTRA_LEVEL, -1);
    int scale = battery.getIntExtra(BatteryManager.EXTRA_SCALE, -1);
    return level < 0 || scale <= 0 ? Double.NaN : 100.0 * level / scale;
  }
}
