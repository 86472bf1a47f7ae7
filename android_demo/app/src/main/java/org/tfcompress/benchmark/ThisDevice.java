package org.tfcompress.benchmark;

import android.app.ActivityManager;
import android.content.Context;
import android.os.Build;
import org.tfcompress.benchmark.core.Device;

/** Describes the device on which the app runs. */
final class ThisDevice {
  private ThisDevice() {}

  static Device describe(Context context) {
    ActivityManager.MemoryInfo memory = new ActivityManager.MemoryInfo();
    context.getSystemService(ActivityManager.class).getMemoryInfo(memory);
    return new Device(
        "android",
        name(),
        soc(),
        "Android " + Build.VERSION.RELEASE + " (API " + Build.VERSION.SDK_INT + ")",
        Build.SUPPORTED_ABIS[0],
        Runtime.getRuntime().availableProcessors(),
        memory.totalMem);
  }

  private static String name() {
    boolean isNamed = Build.MODEL.startsWith(Build.MANUFACTURER);
    return isNamed ? Build.MODEL : Build.MANUFACTURER + " " + Build.MODEL;
  }

  /** Before Android 12, only the board is known. */
  private static String soc() {
    if (Build.VERSION.SDK_INT < Build.VERSION_CODES.S) {
      return Build.HARDWARE;
    }
    return Build.SOC_MANUFACTURER + " " + Build.SOC_MODEL;
  }
}
