package kappa.lake;

import java.time.ZoneId;
import java.util.Map;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.TransactionNamingStrategy;
import org.apache.flink.table.api.config.TableConfigOptions;
import org.apache.flink.table.connector.Projection;
import org.apache.flink.table.connector.format.EncodingFormat;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.factories.SerializationFormatFactory;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;

/** Writes rows to a topic as JSON, in transactions that are committed with the job's checkpoints. */
final class TopicSink {

    private static final Map<String, String> JSON =
            Map.of("timestamp-format.standard", "ISO-8601", "encode.decimal-as-plain-number", "true");

    private final TopicOptions options;
    private final DataType row;
    private final EncodingFormat<SerializationSchema<RowData>> values;
    private final EncodingFormat<SerializationSchema<RowData>> keys;
    private final ZoneId zone;

    private TopicSink(
            TopicOptions options,
            DataType row,
            EncodingFormat<SerializationSchema<RowData>> values,
            EncodingFormat<SerializationSchema<RowData>> keys,
            ZoneId zone) {
        this.options = options;
        this.row = row;
        this.values = values;
        this.keys = keys;
        this.zone = zone;
    }

    static TopicSink of(TopicOptions options, DynamicTableFactory.Context context) {
        return new TopicSink(
                options,
                context.getPhysicalRowDataType(),
                json(context),
                options.key().isEmpty() ? null : json(context),
                ZoneId.of(context.getConfiguration().get(TableConfigOptions.LOCAL_TIME_ZONE)));
    }

    private static EncodingFormat<SerializationSchema<RowData>> json(DynamicTableFactory.Context context) {
        return FactoryUtil.discoverFactory(context.getClassLoader(), SerializationFormatFactory.class, "json")
                .createEncodingFormat(context, Configuration.fromMap(JSON));
    }

    Sink<RowData> sink(DynamicTableSink.Context context) {
        RowType type = (RowType) row.getLogicalType();
        int[] key = RowRecords.columns(type, options.key());
        RowRecords records =
                new RowRecords(
                        options,
                        type,
                        values.createRuntimeEncoder(context, row),
                        keys == null ? null : keys.createRuntimeEncoder(context, Projection.of(key).project(row)),
                        "application/json",
                        zone);
        KafkaSink<RowData> kafka =
                KafkaSink.<RowData>builder()
                        .setKafkaProducerConfig(options.producer())
                        .setRecordSerializer(records)
                        .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                        .setTransactionalIdPrefix(options.prefix())
                        // An id is never used twice: what cannot be committed then is lost, and not another's work.
                        .setTransactionNamingStrategy(TransactionNamingStrategy.INCREMENTING)
                        .build();
        return new LosslessKafkaSink<>(kafka, options.name());
    }
}
