package org.tfcompress.benchmark;
public class ScreensTest { @org.junit.Test public void empty() {} }
