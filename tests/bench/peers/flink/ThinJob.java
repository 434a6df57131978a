// The thin job on Apache Flink's DataStream API, exactly once: parse, one running sum a key, emit.
//
// Arguments: broker, group, source, sink, partitions, "default" or "tuned".
//
// "tuned" follows Flink's own documentation: object reuse ("Execution Configuration"), network
// buffers without a timer for throughput ("Controlling Latency": a timeout of -1), larger batches
// and a linger of the producer and larger fetches (Kafka's own advice for throughput). Both parse by
// hand, which is faster than Jackson, and keep state on the heap, which is faster than RocksDB.
// Results become visible with each checkpoint, once a second.

import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.api.common.typeinfo.TypeHint;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.producer.ProducerRecord;

public final class ThinJob {
    private static final int KEY_AT = "{\"k\":\"".length();
    private static final int VALUE_AFTER_KEY = "\",\"v\":".length();
    private static final long CHECKPOINT_MS = 1000;

    /** Bytes of {"k":"a1","v":7} to (a1, 7). */
    public static final class Parse extends AbstractDeserializationSchema<Tuple2<String, Long>> {
        public Parse() {
            super(TypeInformation.of(new TypeHint<Tuple2<String, Long>>() {}));
        }

        @Override
        public Tuple2<String, Long> deserialize(byte[] text) {
            int end = KEY_AT;
            while (text[end] != '"') {
                end++;
            }
            int at = end + VALUE_AFTER_KEY;
            boolean negative = text[at] == '-';
            long value = 0;
            for (int place = negative ? at + 1 : at; text[place] != '}'; place++) {
                value = value * 10 + text[place] - '0';
            }
            String key = new String(text, KEY_AT, end - KEY_AT, StandardCharsets.ISO_8859_1);
            return Tuple2.of(key, negative ? -value : value);
        }
    }

    /** Adds up by key. */
    public static final class Add
            extends KeyedProcessFunction<String, Tuple2<String, Long>, Tuple2<String, Long>> {
        private transient ValueState<Long> sum;

        @Override
        public void open(OpenContext context) {
            sum = getRuntimeContext().getState(new ValueStateDescriptor<>("sum", Types.LONG));
        }

        @Override
        public void processElement(
                Tuple2<String, Long> event, Context context, Collector<Tuple2<String, Long>> out)
                throws Exception {
            Long before = sum.value();
            long after = before == null ? event.f1 : before + event.f1;
            sum.update(after);
            event.f1 = after;
            out.collect(event);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String broker = arguments[0], group = arguments[1];
        String source = arguments[2], sink = arguments[3];
        int partitions = Integer.parseInt(arguments[4]);
        boolean tuned = arguments[5].equals("tuned");

        Configuration settings = new Configuration();
        StreamExecutionEnvironment flink =
                StreamExecutionEnvironment.createLocalEnvironment(partitions, settings);
        flink.enableCheckpointing(CHECKPOINT_MS);
        Properties producer = new Properties();
        producer.setProperty("transaction.timeout.ms", "600000");
        Properties consumer = new Properties();
        if (tuned) {
            flink.getConfig().enableObjectReuse();
            flink.setBufferTimeout(-1);
            producer.setProperty("batch.size", "524288");
            producer.setProperty("linger.ms", "20");
            producer.setProperty("buffer.memory", "134217728");
            consumer.setProperty("max.poll.records", "5000");
            consumer.setProperty("max.partition.fetch.bytes", "8388608");
            consumer.setProperty("fetch.min.bytes", "65536");
        }
        KafkaSource<Tuple2<String, Long>> events =
                KafkaSource.<Tuple2<String, Long>>builder()
                        .setBootstrapServers(broker)
                        .setGroupId(group)
                        .setTopics(source)
                        .setStartingOffsets(OffsetsInitializer.earliest())
                        .setValueOnlyDeserializer(new Parse())
                        .setProperties(consumer)
                        .build();
        KafkaRecordSerializationSchema<Tuple2<String, Long>> write =
                (element, context, timestamp) -> new ProducerRecord<>(
                        sink,
                        element.f0.getBytes(StandardCharsets.ISO_8859_1),
                        ("{\"k\":\"" + element.f0 + "\",\"sum\":" + element.f1 + "}")
                                .getBytes(StandardCharsets.ISO_8859_1));
        KafkaSink<Tuple2<String, Long>> results =
                KafkaSink.<Tuple2<String, Long>>builder()
                        .setBootstrapServers(broker)
                        .setRecordSerializer(write)
                        .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                        .setTransactionalIdPrefix(group)
                        .setKafkaProducerConfig(producer)
                        .build();
        flink.fromSource(events, WatermarkStrategy.noWatermarks(), "events")
                .keyBy(event -> event.f0)
                .process(new Add())
                .sinkTo(results);
        flink.execute("thin");
    }
}
