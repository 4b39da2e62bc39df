package tintype.peer;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.streams.processor.TimestampExtractor;

/**
 * Takes the event time from the first 8 bytes of the value: the record's own timestamp is the
 * broker's where a topic has LogAppendTime.
 */
public final class EventTime implements TimestampExtractor {
    @Override
    public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
        return Event.timeOf((byte[]) record.value());
    }
}
