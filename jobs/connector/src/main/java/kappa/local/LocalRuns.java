package kappa.local;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.dag.Transformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.jobgraph.JobGraph;
import org.apache.flink.runtime.jobmaster.JobResult;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.graph.StreamGraph;
import org.apache.flink.table.api.PlanReference;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.internal.TableEnvironmentImpl;
import org.apache.flink.table.delegation.Planner;
import org.apache.flink.util.ExceptionUtils;

/** Runs compiled plans in this JVM, on a cluster that stays; called from Python. */
public final class LocalRuns {

    private static final long CANCEL_SECONDS = 10;
    private static MiniCluster cluster;

    private LocalRuns() {}

    /** A job of several plans, each translated in the environment where its tables are declared. */
    public static final class Job {

        private final List<Transformation<?>> transformations = new ArrayList<>();
        private Configuration configuration;

        /** Adds a plan; what it reads and writes is its own. */
        public void add(TableEnvironment env, String plan) throws Exception {
            Planner planner = ((TableEnvironmentImpl) env).getPlanner();
            transformations.addAll(planner.translatePlan(planner.loadPlan(PlanReference.fromJsonString(plan))));
            configuration = env.getConfig().getConfiguration();
        }

        /** Starts it on the cluster of these settings, if that does not run yet; the job's id. */
        public String submit(String name, Map<String, String> settings) throws Exception {
            try (StreamExecutionEnvironment env = new StreamExecutionEnvironment(configuration)) {
                env.configure(configuration);
                StreamGraph graph = env.generateStreamGraph(transformations);
                graph.setJobName(name);
                JobGraph job = graph.getJobGraph();
                cluster(settings).submitJob(job).get();
                return job.getJobID().toHexString();
            }
        }
    }

    private static synchronized MiniCluster cluster(Map<String, String> settings) throws Exception {
        if (cluster == null || !cluster.isRunning()) {
            MiniCluster started =
                    new MiniCluster(
                            new MiniClusterConfiguration.Builder()
                                    .setConfiguration(Configuration.fromMap(settings))
                                    .build());
            started.start();
            cluster = started;
        }
        return cluster;
    }

    /** Waits for its end: "" if it ended well, why it failed otherwise; null if it has not ended within that time. */
    public static String outcome(String job, long milliseconds) throws Exception {
        try {
            JobResult result = running().requestJobResult(id(job)).get(milliseconds, TimeUnit.MILLISECONDS);
            return result.getSerializedThrowable().map(LocalRuns::reason).orElse(result.isSuccess() ? "" : "cancelled");
        } catch (TimeoutException e) {
            return null;
        }
    }

    /** Ends a job; false if it goes on nevertheless. */
    public static boolean cancel(String job) throws Exception {
        try {
            running().cancelJob(id(job)).get(CANCEL_SECONDS, TimeUnit.SECONDS);
            running().requestJobResult(id(job)).get(CANCEL_SECONDS, TimeUnit.SECONDS);
            return true;
        } catch (TimeoutException e) {
            return false;
        } catch (ExecutionException e) {
            return true; // it has ended meanwhile
        }
    }

    private static String reason(Throwable failure) {
        return ExceptionUtils.stringifyException(failure);
    }

    private static synchronized MiniCluster running() {
        return cluster;
    }

    private static JobID id(String job) {
        return JobID.fromHexString(job);
    }
}
