package tintype.peer;

import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

/** Kafka Streams against a broker: what the programs that need one share. */
final class Application {
    private Application() {}

    /** Reads {@code --name value} pairs; all of the names are wanted and no other. */
    static Map<String, String> options(String[] args, String... names) {
        Map<String, String> options = new HashMap<>();
        for (int i = 0; i + 1 < args.length; i += 2) {
            options.put(args[i].replaceFirst("^--", ""), args[i + 1]);
        }
        for (String name : names) {
            if (!options.containsKey(name)) {
                throw new IllegalArgumentException("--" + name + " is missing; wanted: --" + String.join(", --", names));
            }
        }
        if (options.size() != names.length || args.length % 2 != 0) {
            throw new IllegalArgumentException("wanted only: --" + String.join(", --", names));
        }
        return options;
    }

    static Properties config(String bootstrap, String id, String guarantee, int threads, Path state) {
        Properties config = new Properties();
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, id);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, threads);
        config.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        return config;
    }

    /**
     * Runs until done, or until a thread of the application fails. Closing commits what is done. Without
     * the process that started it the program ends at once: its broker may be gone too.
     */
    static void run(Topology topology, Properties config, CompletableFuture<?> done)
        throws ExecutionException, InterruptedException {
        ProcessHandle.current().parent()
            .ifPresent(parent -> parent.onExit().thenRun(() -> Runtime.getRuntime().halt(1)));
        try (KafkaStreams streams = new KafkaStreams(topology, config)) {
            streams.setUncaughtExceptionHandler(e -> {
                done.completeExceptionally(e);
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.start();
            done.get();
            if (!streams.close(Duration.ofSeconds(30))) {
                throw new IllegalStateException("the application did not end within 30 s");
            }
        }
    }
}
