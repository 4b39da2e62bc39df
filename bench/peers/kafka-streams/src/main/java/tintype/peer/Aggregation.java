package tintype.peer;

import java.time.Duration;
import java.util.function.Function;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.TaskId;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams' own windowed aggregation between two nodes that keep a {@link Ledger} for each
 * task. No key changes on the way, so that no topic lies between: a task does one partition.
 */
final class Aggregation {
    private static final String STORE = "windows";

    /** Longer than any run: a store that forgets drops records that the window's rules accept. */
    private static final Duration RETENTION = Duration.ofDays(3650);

    private Aggregation() {}

    /** Where the windows live. The rules are the same; the stores' own conditions are not. */
    enum State { MEMORY, ROCKSDB }

    /** Returns the updates of all windows; a session that became part of another one has none. */
    static KStream<Windowed<String>, Totals> build(
        StreamsBuilder builder, String topic, Spec spec, State state, Function<TaskId, Ledger> ledgers) {
        KGroupedStream<String, byte[]> grouped = builder
            .stream(topic, Consumed.with(Serdes.String(), Serdes.ByteArray())
                .withTimestampExtractor(new EventTime()))
            .processValues(() -> new Begin(spec, ledgers))
            .groupByKey();
        KStream<Windowed<String>, Totals> updates;
        if (spec.kind() == Spec.Kind.SESSION) {
            updates = grouped.windowedBy(spec.sessionWindows())
                .aggregate(() -> Totals.NONE, (key, value, totals) -> totals.plus(Event.valueOf(value)),
                    (key, a, b) -> a.plus(b), configure(Materialized.as(state == State.MEMORY
                        ? Stores.inMemorySessionStore(STORE, RETENTION)
                        : Stores.persistentSessionStore(STORE, RETENTION)), state))
                .toStream();
        } else {
            Duration size = Duration.ofMillis(spec.sizeMs());
            updates = grouped.windowedBy(spec.timeWindows())
                .aggregate(() -> Totals.NONE, (key, value, totals) -> totals.plus(Event.valueOf(value)),
                    configure(Materialized.as(state == State.MEMORY
                        ? Stores.inMemoryWindowStore(STORE, RETENTION, size, false)
                        : Stores.persistentWindowStore(STORE, RETENTION, size, false)), state))
                .toStream();
        }
        return updates.processValues(() -> new Note(ledgers));
    }

    /** Caches would hold updates back. Only what is to survive the process has a changelog. */
    private static <S extends StateStore> Materialized<String, Totals, S> configure(
        Materialized<String, Totals, S> store, State state) {
        store.withKeySerde(Serdes.String()).withValueSerde(Totals.SERDE).withCachingDisabled();
        return state == State.MEMORY ? store.withLoggingDisabled() : store;
    }

    /** Opens a record in the ledger, passes it on, and closes it when all its work is done. */
    private static final class Begin extends ContextualFixedKeyProcessor<String, byte[], byte[]> {
        private final Spec spec;
        private final TimeWindows windows;
        private final Function<TaskId, Ledger> ledgers;
        private Ledger ledger;
        private Metric dropped;

        Begin(Spec spec, Function<TaskId, Ledger> ledgers) {
            this.spec = spec;
            this.windows = spec.kind() == Spec.Kind.SESSION ? null : spec.timeWindows();
            this.ledgers = ledgers;
        }

        @Override
        public void init(FixedKeyProcessorContext<String, byte[]> context) {
            super.init(context);
            ledger = ledgers.apply(context.taskId());
        }

        @Override
        public void process(FixedKeyRecord<String, byte[]> record) {
            if (dropped == null) {
                // It is registered by a node that starts after this one.
                dropped = findDropped();
            }
            long before = count();
            ledger.begin();
            context().forward(record);
            long delta = count() - before;
            long offset = context().recordMetadata().orElseThrow().offset();
            if (windows == null) {
                ledger.end(offset, record.key(), record.timestamp(), delta);
            } else {
                ledger.end(offset, record.key(), record.timestamp(),
                    windows.windowsFor(record.timestamp()).values(), delta);
            }
        }

        private long count() {
            return ((Double) dropped.metricValue()).longValue();
        }

        private Metric findDropped() {
            String task = context().taskId().toString();
            for (var entry : context().metrics().metrics().entrySet()) {
                if (entry.getKey().name().equals("dropped-records-total")
                    && task.equals(entry.getKey().tags().get("task-id"))) {
                    return entry.getValue();
                }
            }
            throw new IllegalStateException("task " + task + " of " + spec + " counts no dropped records");
        }
    }

    /** Notes each update in the ledger. */
    private static final class Note extends ContextualFixedKeyProcessor<Windowed<String>, Totals, Totals> {
        private final Function<TaskId, Ledger> ledgers;
        private Ledger ledger;

        Note(Function<TaskId, Ledger> ledgers) {
            this.ledgers = ledgers;
        }

        @Override
        public void init(FixedKeyProcessorContext<Windowed<String>, Totals> context) {
            super.init(context);
            ledger = ledgers.apply(context.taskId());
        }

        @Override
        public void process(FixedKeyRecord<Windowed<String>, Totals> record) {
            ledger.update(record.key(), record.value());
            context().forward(record);
        }
    }
}
