package tintype.peer;

import com.fasterxml.jackson.core.JsonGenerator;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;

/**
 * {@link Differential} on a real broker: the same aggregation with RocksDB, changelogs and
 * transactions, until a number of records is processed.
 *
 * <p>The windows that it writes are those of the output topic, which it reads back as a reader of
 * committed records. One thread: a task that moves to another one forgets its stream time.
 */
public final class OnBroker {
    private OnBroker() {}

    public static void main(String[] args) throws Exception {
        Map<String, String> options = Application.options(args,
            "bootstrap", "input", "output", "application", "spec", "records", "result");
        Spec spec = Spec.parse(options.get("spec"));
        String bootstrap = options.get("bootstrap");
        String output = options.get("output");

        AtomicLong remaining = new AtomicLong(Long.parseLong(options.get("records")));
        CompletableFuture<Void> done = new CompletableFuture<>();
        Map<Integer, Ledger> ledgers = new ConcurrentHashMap<>();
        StreamsBuilder builder = new StreamsBuilder();
        Aggregation.build(builder, options.get("input"), spec, Aggregation.State.ROCKSDB,
                task -> ledgers.computeIfAbsent(task.partition(), p -> new Ledger(() -> {
                    if (remaining.decrementAndGet() == 0) {
                        done.complete(null);
                    }
                })))
            .process(Flat::new)
            .to(output, Produced.with(Serdes.String(), Totals.SERDE));
        try (Scratch state = new Scratch()) {
            Properties config = Application.config(
                bootstrap, options.get("application"), StreamsConfig.EXACTLY_ONCE_V2, 1, state.dir());
            Application.run(builder.build(), config, done);
        }

        Map<String, Totals> last = readBack(bootstrap, output);
        try (JsonGenerator out = Differential.jsonLines(Path.of(options.get("result")))) {
            for (Map.Entry<String, Totals> entry : last.entrySet()) {
                String[] part = entry.getKey().split("\t", 4);
                Ledger.writeWindow(out, Integer.parseInt(part[0]), part[3],
                    Long.parseLong(part[1]), Long.parseLong(part[2]), entry.getValue());
            }
            for (Map.Entry<Integer, Ledger> entry : ledgers.entrySet()) {
                entry.getValue().writeLate(out, entry.getKey());
            }
        }
    }

    /** Makes a key of all that a window is known by: partition, start, end and key, tabs between. */
    private static final class Flat extends ContextualProcessor<Windowed<String>, Totals, String, Totals> {
        @Override
        public void process(Record<Windowed<String>, Totals> record) {
            Windowed<String> window = record.key();
            context().forward(record.withKey(context().taskId().partition() + "\t"
                + window.window().start() + "\t" + window.window().end() + "\t" + window.key()));
        }
    }

    /** Returns the last value of each key in a topic that nobody writes to any more. */
    private static Map<String, Totals> readBack(String bootstrap, String topic) {
        Map<String, Object> config = new HashMap<>();
        config.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        config.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        Map<String, Totals> last = new LinkedHashMap<>();
        try (KafkaConsumer<String, Totals> consumer =
            new KafkaConsumer<>(config, new StringDeserializer(), Totals.SERDE.deserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                .map(info -> new TopicPartition(topic, info.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                for (ConsumerRecord<String, Totals> record : consumer.poll(Duration.ofSeconds(1))) {
                    if (record.value() == null) {
                        last.remove(record.key());
                    } else {
                        last.put(record.key(), record.value());
                    }
                }
            }
        }
        return last;
    }
}
