package org.tfcompress.benchmark.core;

import java.io.File;

/** Prints what the core reads of a folder that the PC filled, and of its plan. */
final class ManifestCheck {
  public static void main(String[] words) throws Exception {
    ModelFile model = Manifest.read(new Folder(new File(words[0]))).models.get(0);
    System.out.println(model.name + " " + model.read().length);
    Evaluation evaluation = model.evaluation();
    System.out.println(evaluation.count() + " " + evaluation.label(1));
    System.out.println(evaluation.reference(1)[2]);
    Plan plan = Plan.fromJson(JsonObject.parse(words[1], "plan"));
    System.out.println(plan.backend + " " + plan.numThreads + " " + plan.warmUp);
    System.out.println(plan.runs + " " + plan.seconds + " " + plan.checksAccuracy);
  }
}
