package tintype.peer;

import java.nio.ByteBuffer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** What a window adds up. */
record Totals(long count, long sum, long min, long max) {
    static final Totals NONE = new Totals(0, 0, Long.MAX_VALUE, Long.MIN_VALUE);

    static final Serde<Totals> SERDE = Serdes.serdeFrom(
        (topic, totals) -> totals == null ? null : totals.toBytes(),
        (topic, bytes) -> bytes == null ? null : fromBytes(bytes));

    Totals plus(long value) {
        return new Totals(count + 1, sum + value, Math.min(min, value), Math.max(max, value));
    }

    Totals plus(Totals other) {
        return new Totals(count + other.count, sum + other.sum, Math.min(min, other.min), Math.max(max, other.max));
    }

    private byte[] toBytes() {
        return ByteBuffer.allocate(4 * Long.BYTES).putLong(count).putLong(sum).putLong(min).putLong(max).array();
    }

    private static Totals fromBytes(byte[] bytes) {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        return new Totals(buffer.getLong(), buffer.getLong(), buffer.getLong(), buffer.getLong());
    }
}
