import java.io.File;
import java.util.Arrays;
import java.util.Map;
import org.gradle.api.internal.StartParameterInternal;
import org.gradle.api.logging.LogLevel;
import org.gradle.initialization.BuildRequestContext;
import org.gradle.initialization.DefaultBuildCancellationToken;
import org.gradle.initialization.DefaultBuildRequestContext;
import org.gradle.initialization.DefaultBuildRequestMetaData;
import org.gradle.initialization.NoOpBuildEventConsumer;
import org.gradle.internal.buildprocess.BuildProcessState;
import org.gradle.internal.classpath.ClassPath;
import org.gradle.internal.instrumentation.agent.AgentStatus;
import org.gradle.internal.logging.LoggingManagerInternal;
import org.gradle.internal.logging.services.DefaultLoggingManagerFactory;
import org.gradle.internal.logging.services.LoggingServiceRegistry;
import org.gradle.internal.nativeintegration.services.NativeServices;
import org.gradle.internal.service.ServiceRegistry;
import org.gradle.launcher.exec.BuildActionParameters;
import org.gradle.launcher.exec.BuildActionResult;
import org.gradle.launcher.exec.BuildExecutor;
import org.gradle.launcher.exec.DefaultBuildActionParameters;
import org.gradle.tooling.internal.provider.action.ExecuteBuildAction;

/** Runs Gradle's engine without its command line: FOLDER PROJECT RUNTIME TASK... */
public final class RunGradle {
  private RunGradle() {}

  public static void main(String[] arguments) throws Exception {
    File folder = new File(arguments[0]);
    NativeServices.initializeOnDaemon(
        new File(folder, "home"), NativeServices.NativeServicesMode.DISABLED);
    ServiceRegistry services = LoggingServiceRegistry.newCommandLineProcessLogging();
    LoggingManagerInternal logging = services.get(DefaultLoggingManagerFactory.class).create();
    logging.setLevelInternal(LogLevel.LIFECYCLE);
    logging.start();
    BuildProcessState state =
        new BuildProcessState(
            true, AgentStatus.disabled(), ClassPath.EMPTY, services, NativeServices.getInstance());
    StartParameterInternal parameters = parameters(folder, arguments);
    BuildActionResult result =
        state
            .getServices()
            .get(BuildExecutor.class)
            .execute(new ExecuteBuildAction(parameters), settings(parameters), request());
    state.close();
    logging.stop();
    System.exit(result.hasFailure() ? 1 : 0);
  }

  private static StartParameterInternal parameters(File folder, String[] arguments) {
    File project = new File(arguments[1]);
    StartParameterInternal parameters = new StartParameterInternal();
    parameters.setGradleUserHomeDir(new File(folder, "home"));
    parameters.setGradleHomeDir(new File(folder, "dist"));
    parameters.addInitScript(new File(folder, "init.gradle"));
    parameters.setProjectDir(project);
    parameters.setCurrentDir(project);
    parameters.setProjectProperties(Map.of("runtime", arguments[2]));
    parameters.setTaskNames(Arrays.asList(arguments).subList(3, arguments.length));
    return parameters;
  }

  private static BuildActionParameters settings(StartParameterInternal parameters) {
    return new DefaultBuildActionParameters(
        System.getProperties(),
        System.getenv(),
        parameters.getCurrentDir(),
        parameters.getLogLevel(),
        false,
        ClassPath.EMPTY);
  }

  private static BuildRequestContext request() {
    return new DefaultBuildRequestContext(
        new DefaultBuildRequestMetaData(System.currentTimeMillis()),
        new DefaultBuildCancellationToken(),
        new NoOpBuildEventConsumer());
  }
}
