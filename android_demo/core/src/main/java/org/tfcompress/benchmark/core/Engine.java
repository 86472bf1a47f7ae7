package org.tfcompress.benchmark.core;

/** A library that runs models; the app implements it with TFLite. */
public interface Engine {
  RuntimeInfo runtime();

  /**
   * Makes a model ready to run.
   *
   * @param content the bytes of the .tflite file, whose hash is verified
   * @throws Exception with a message for the user if it cannot be opened; the benchmark continues
   *     with the other models
   */
  Session open(byte[] content, Plan plan) throws Exception;
}
