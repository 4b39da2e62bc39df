import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Partitioner;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Sends records with Kafka's own producer, as a script on standard input says.
 * A line is one command, its words are divided by tabs, and bytes are base64:
 *
 *   producer NAME SETTING=VALUE…
 *   send NAME TOPIC KEY VALUE HEADER=VALUE…   (- is null)
 *   begin NAME | commit NAME | abort NAME
 *
 * When all records are acknowledged it prints one line for each, in the order
 * of the script: partition and offset, divided by a tab. An aborted record is
 * in the log: a transaction is flushed before it is ended.
 */
public final class ForeignProducer {
    /** FNV-1a of the key modulo the partition count: no murmur2. */
    public static final class Fnv implements Partitioner {
        @Override
        public int partition(String topic, Object key, byte[] keyBytes, Object value, byte[] valueBytes, Cluster cluster) {
            int hash = 0x811c9dc5;
            for (byte b : keyBytes) {
                hash = (hash ^ (b & 0xff)) * 0x01000193;
            }
            return (hash & 0x7fffffff) % cluster.partitionCountForTopic(topic);
        }

        @Override
        public void close() {}

        @Override
        public void configure(Map<String, ?> settings) {}
    }

    public static void main(String[] args) throws Exception {
        Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split("\t");
            KafkaProducer<byte[], byte[]> producer = producers.get(words[1]);
            switch (words[0]) {
                case "producer" -> {
                    producer = open(words);
                    producers.put(words[1], producer);
                }
                case "send" -> {
                    ProducerRecord<byte[], byte[]> r = new ProducerRecord<>(words[2], bytes(words[3]), bytes(words[4]));
                    for (int i = 5; i < words.length; i++) {
                        String[] header = words[i].split("=", 2);
                        r.headers().add(header[0], header[1].getBytes(StandardCharsets.UTF_8));
                    }
                    sent.add(producer.send(r));
                }
                case "begin" -> producer.beginTransaction();
                case "commit" -> producer.commitTransaction();
                case "abort" -> {
                    producer.flush();
                    producer.abortTransaction();
                }
                default -> throw new IllegalArgumentException("no command " + words[0]);
            }
        }
        for (KafkaProducer<byte[], byte[]> producer : producers.values()) {
            producer.close();
        }
        for (Future<RecordMetadata> f : sent) {
            RecordMetadata m = f.get();
            System.out.println(m.partition() + "\t" + m.offset());
        }
    }

    private static KafkaProducer<byte[], byte[]> open(String[] words) {
        Map<String, Object> settings = new HashMap<>();
        for (int i = 2; i < words.length; i++) {
            String[] setting = words[i].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        if ("fnv".equals(settings.get("partitioner.class"))) {
            settings.put("partitioner.class", Fnv.class);
        }
        KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        if (settings.containsKey("transactional.id")) {
            producer.initTransactions();
        }
        return producer;
    }

    private static byte[] bytes(String word) {
        return word.equals("-") ? null : Base64.getDecoder().decode(word);
    }
}
