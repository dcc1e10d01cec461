package kappa.lake;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Headers;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.utils.ProjectedRowData;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.utils.LogicalTypeChecks;

/**
 * Rows as records of a topic: the value, the key of the key's columns, and headers of CloudEvents in binary mode.
 *
 * <p>{@code ce_id} is made of the value, so a row that two runs have alike has the same id in both: the rows of a table are
 * told apart by where their record stands in the log, or by their key.
 */
final class RowRecords implements KafkaRecordSerializationSchema<RowData> {

    private static final long serialVersionUID = 1L;
    private static final int ID_BYTES = 16;

    private final TopicOptions options;
    private final SerializationSchema<RowData> values;
    private final SerializationSchema<RowData> keys;
    private final int[] keyColumns;
    private final RowTime time;
    private final String contentType;
    private transient ProjectedRowData key;
    private transient MessageDigest digest;

    /** {@code keys} serializes the key's columns, in their order, and is null where there are none. */
    RowRecords(
            TopicOptions options,
            RowType row,
            SerializationSchema<RowData> values,
            SerializationSchema<RowData> keys,
            String contentType,
            ZoneId zone) {
        this.options = options;
        this.values = values;
        this.keys = keys;
        this.keyColumns = columns(row, options.key());
        this.time = options.time() == null ? null : RowTime.of(row, columns(row, List.of(options.time()))[0], zone);
        this.contentType = contentType;
    }

    /** The places of columns in a row; ValidationException names one that it does not have. */
    static int[] columns(RowType row, List<String> names) {
        int[] places = names.stream().mapToInt(row.getFieldNames()::indexOf).toArray();
        for (int i = 0; i < places.length; i++) {
            if (places[i] < 0) {
                throw new ValidationException(
                        String.format("The rows have no column %s. They have %s.", names.get(i), row.getFieldNames()));
            }
        }
        return places;
    }

    @Override
    public void open(SerializationSchema.InitializationContext context, KafkaSinkContext sink) throws Exception {
        values.open(context);
        if (keys != null) {
            keys.open(context);
        }
    }

    @Override
    public ProducerRecord<byte[], byte[]> serialize(RowData row, KafkaSinkContext context, Long timestamp) {
        byte[] value = values.serialize(row);
        ProducerRecord<byte[], byte[]> made = new ProducerRecord<>(options.name(), keyOf(row), value);
        Headers headers = made.headers();
        headers.add("ce_specversion", text("1.0"));
        headers.add("ce_id", text(id(value)));
        headers.add("ce_source", text(options.source()));
        headers.add("ce_type", text(options.type()));
        Instant happened = time == null ? null : time.of(row);
        if (happened != null) {
            headers.add("ce_time", text(happened.toString()));
        }
        headers.add("content-type", text(contentType));
        return made;
    }

    private byte[] keyOf(RowData row) {
        if (keys == null) {
            return null;
        }
        if (key == null) {
            key = ProjectedRowData.from(keyColumns);
        }
        return keys.serialize(key.replaceRow(row));
    }

    private String id(byte[] value) {
        if (digest == null) {
            try {
                digest = MessageDigest.getInstance("SHA-256");
            } catch (NoSuchAlgorithmException e) {
                throw new IllegalStateException("Every Java has SHA-256.", e);
            }
        }
        return HexFormat.of().formatHex(Arrays.copyOf(digest.digest(value), ID_BYTES));
    }

    private static byte[] text(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** When a row happened, by one of its columns; what has no zone is on the product's clock. */
    record RowTime(int column, LogicalTypeRoot type, int precision, ZoneId zone) implements java.io.Serializable {

        static RowTime of(RowType row, int column, ZoneId zone) {
            LogicalType type = row.getTypeAt(column);
            return switch (type.getTypeRoot()) {
                case TIMESTAMP_WITH_LOCAL_TIME_ZONE, TIMESTAMP_WITHOUT_TIME_ZONE ->
                        new RowTime(column, type.getTypeRoot(), LogicalTypeChecks.getPrecision(type), zone);
                case DATE -> new RowTime(column, type.getTypeRoot(), 0, zone);
                default -> throw new ValidationException(
                        "Column " + row.getFieldNames().get(column) + " is no time: " + type.asSummaryString());
            };
        }

        Instant of(RowData row) {
            if (row.isNullAt(column)) {
                return null;
            }
            return switch (type) {
                case DATE -> LocalDate.ofEpochDay(row.getInt(column)).atStartOfDay(zone).toInstant();
                case TIMESTAMP_WITHOUT_TIME_ZONE -> local(row).atZone(zone).toInstant();
                default -> row.getTimestamp(column, precision).toInstant();
            };
        }

        private LocalDateTime local(RowData row) {
            return row.getTimestamp(column, precision).toLocalDateTime();
        }
    }
}
