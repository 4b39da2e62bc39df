package tintype.peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.util.MinimalPrettyPrinter;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.kstream.Windowed;

/**
 * Says what Kafka Streams makes of event files, each partition by itself, without a broker.
 *
 * <p>Jobs come on standard input, one a line: {@code SPEC<tab>INPUT<tab>OUTPUT}. When a job is done
 * its line is printed again: the output file is complete then. The program ends with its input, or
 * with the first job that fails. Argument: how many jobs to do at a time.
 */
public final class Differential {
    private static final AtomicInteger DRIVERS = new AtomicInteger();

    private Differential() {}

    public static void main(String[] args) throws Exception {
        int atATime = args.length > 0 ? Integer.parseInt(args[0]) : 1;
        ExecutorService pool = Executors.newFixedThreadPool(atATime);
        try (Scratch state = new Scratch();
            BufferedReader jobs = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = jobs.readLine(); line != null; line = jobs.readLine()) {
                String job = line;
                pool.execute(() -> {
                    try {
                        String[] part = job.split("\t");
                        run(Spec.parse(part[0]), Path.of(part[1]), Path.of(part[2]), state.dir());
                        System.out.println(job);
                    } catch (Throwable e) {
                        e.printStackTrace();
                        end(state);
                    }
                });
            }
            pool.shutdown();
            pool.awaitTermination(Long.MAX_VALUE, TimeUnit.DAYS);
        }
    }

    /** Ends the program although it waits for more jobs. */
    private static void end(Scratch state) {
        try {
            state.close();
        } catch (IOException e) {
            e.printStackTrace();
        } finally {
            Runtime.getRuntime().halt(1);
        }
    }

    private static void run(Spec spec, Path input, Path output, Path state) throws IOException {
        Map<Integer, Partition> partitions = new TreeMap<>();
        try (BufferedReader lines = Files.newBufferedReader(input)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                Event event = Event.parse(line);
                partitions.computeIfAbsent(event.partition(), p -> new Partition(spec, state)).feed(event);
            }
            try (JsonGenerator out = jsonLines(output)) {
                for (Map.Entry<Integer, Partition> entry : partitions.entrySet()) {
                    Ledger ledger = entry.getValue().ledger;
                    for (Map.Entry<Windowed<String>, Totals> window : ledger.last().entrySet()) {
                        Ledger.writeWindow(out, entry.getKey(), window.getKey(), window.getValue(), false);
                    }
                    ledger.write(out, entry.getKey());
                }
            }
        } finally {
            partitions.values().forEach(Partition::close);
        }
    }

    static JsonGenerator jsonLines(Path output) throws IOException {
        return new JsonFactory().createGenerator(Files.newBufferedWriter(output))
            .setPrettyPrinter(new MinimalPrettyPrinter("\n"));
    }

    /** One partition, and a driver of its own: stream time is the partition's. */
    private static final class Partition {
        private static final String TOPIC = "events";

        private final Ledger ledger = new Ledger(() -> { });
        private final TopologyTestDriver driver;
        private final TestInputTopic<String, byte[]> topic;

        Partition(Spec spec, Path state) {
            StreamsBuilder builder = new StreamsBuilder();
            Aggregation.build(builder, TOPIC, spec, Aggregation.State.MEMORY, task -> ledger);
            Properties config = new Properties();
            config.put(StreamsConfig.APPLICATION_ID_CONFIG, "differential-" + DRIVERS.incrementAndGet());
            config.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
            config.put(Aggregation.CLOSING_INTERVAL_MS, 0L);
            driver = new TopologyTestDriver(builder.build(), config);
            topic = driver.createInputTopic(TOPIC, new StringSerializer(), new ByteArraySerializer());
        }

        void feed(Event event) {
            topic.pipeInput(event.key(), event.payload());
        }

        void close() {
            driver.close();
        }
    }
}
