package kappa.format;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;

/**
 * What an Avro type means, and the Flink type that holds it: the table of {@code jobs/product/avro_types.py} and {@code docs/types.md}.
 *
 * <p>A logical type that is unknown, or invalid where it stands, means nothing: Avro reads the type below.
 */
enum AvroType {
    NONE,
    DATE,
    TIME_MILLIS,
    TIME_MICROS,
    TIMESTAMP_MILLIS,
    TIMESTAMP_MICROS,
    TIMESTAMP_NANOS,
    LOCAL_TIMESTAMP_MILLIS,
    LOCAL_TIMESTAMP_MICROS,
    LOCAL_TIMESTAMP_NANOS,
    DECIMAL,
    UUID,
    DURATION;

    /** Types may be nested so deep: what reads them calls itself for each level. */
    static final int MAX_DEPTH = 64;

    private static final int MAX_PRECISION = 38;
    private static final int UUID_SIZE = 16;
    private static final int DURATION_SIZE = 12;
    private static final Map<String, AvroType> BY_NAME = new HashMap<>();

    static {
        for (AvroType type : values()) {
            BY_NAME.put(type.text(), type);
        }
        BY_NAME.remove(NONE.text());
    }

    /** As a schema names it. */
    String text() {
        return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    /** The valid logical type of a schema. */
    static AvroType of(Schema schema) {
        AvroType type = BY_NAME.getOrDefault(String.valueOf(schema.getObjectProp("logicalType")), NONE);
        boolean isFixed = schema.getType() == Schema.Type.FIXED;
        boolean valid =
                switch (type) {
                    case NONE -> false;
                    case DATE, TIME_MILLIS -> schema.getType() == Schema.Type.INT;
                    case DECIMAL -> isDecimal(schema);
                    case UUID -> schema.getType() == Schema.Type.STRING || isFixed && schema.getFixedSize() == UUID_SIZE;
                    case DURATION -> isFixed && schema.getFixedSize() == DURATION_SIZE;
                    default -> schema.getType() == Schema.Type.LONG;
                };
        return valid ? type : NONE;
    }

    private static boolean isDecimal(Schema schema) {
        int precision = precision(schema);
        int scale = scale(schema);
        if (precision < 1 || scale < 0 || scale > precision) {
            return false;
        }
        return schema.getType() == Schema.Type.BYTES
                || schema.getType() == Schema.Type.FIXED && precision <= digits(schema.getFixedSize());
    }

    /** So many decimal digits fit into any number of so many bytes. */
    private static double digits(int size) {
        return size == 0 ? 0 : Math.floor((8.0 * size - 1) * Math.log10(2));
    }

    static int precision(Schema decimal) {
        return number(decimal.getObjectProp("precision"));
    }

    static int scale(Schema decimal) {
        Object scale = decimal.getObjectProp("scale");
        return scale == null ? 0 : number(scale);
    }

    private static int number(Object property) {
        return property instanceof Integer number ? number : -1;
    }

    /** How a type is called in a reason. */
    static String describe(Schema schema) {
        AvroType logical = of(schema);
        if (logical == DECIMAL) {
            return String.format("decimal(%d, %d)", precision(schema), scale(schema));
        }
        if (logical != NONE) {
            return logical.text();
        }
        return switch (schema.getType()) {
            case RECORD, ENUM, FIXED -> schema.getType().getName() + " " + schema.getFullName();
            case UNION -> schema.getTypes().stream().map(AvroType::describe).collect(Collectors.joining(" or "));
            default -> schema.getType().getName();
        };
    }

    /** The columns of a reader schema; ValidationException when no table can be made of it. */
    static RowType columns(Schema schema) {
        if (schema.getType() != Schema.Type.RECORD) {
            throw new ValidationException("The option 'schema' is a record. Found: " + describe(schema));
        }
        return (RowType) type(schema, new HashSet<>(), 0).getLogicalType().copy(false);
    }

    private static DataType type(Schema schema, Set<String> above, int depth) {
        if (depth > MAX_DEPTH) {
            throw new ValidationException("The option 'schema' has types nested deeper than " + MAX_DEPTH);
        }
        return switch (of(schema)) {
            case DATE -> DataTypes.DATE();
            case TIME_MILLIS -> DataTypes.TIME(0); // as SQL calls every TIME; it holds milliseconds
            case TIME_MICROS -> DataTypes.BIGINT();
            case TIMESTAMP_MILLIS -> DataTypes.TIMESTAMP_LTZ(3);
            case TIMESTAMP_MICROS -> DataTypes.TIMESTAMP_LTZ(6);
            case TIMESTAMP_NANOS -> DataTypes.TIMESTAMP_LTZ(9);
            case LOCAL_TIMESTAMP_MILLIS -> DataTypes.TIMESTAMP(3);
            case LOCAL_TIMESTAMP_MICROS -> DataTypes.TIMESTAMP(6);
            case LOCAL_TIMESTAMP_NANOS -> DataTypes.TIMESTAMP(9);
            case DECIMAL -> decimal(schema);
            case UUID -> DataTypes.STRING();
            case DURATION -> DataTypes.BYTES();
            case NONE -> plain(schema, above, depth);
        };
    }

    private static DataType decimal(Schema schema) {
        if (precision(schema) > MAX_PRECISION) {
            throw new ValidationException("The option 'schema' has a " + describe(schema) + ", of more than 38 digits");
        }
        return DataTypes.DECIMAL(precision(schema), scale(schema));
    }

    private static DataType plain(Schema schema, Set<String> above, int depth) {
        return switch (schema.getType()) {
            case NULL, STRING, ENUM -> DataTypes.STRING();
            case BOOLEAN -> DataTypes.BOOLEAN();
            case INT -> DataTypes.INT();
            case LONG -> DataTypes.BIGINT();
            case FLOAT -> DataTypes.FLOAT();
            case DOUBLE -> DataTypes.DOUBLE();
            case BYTES, FIXED -> DataTypes.BYTES();
            case ARRAY -> DataTypes.ARRAY(type(schema.getElementType(), above, depth + 1));
            case MAP -> DataTypes.MAP(DataTypes.STRING().notNull(), type(schema.getValueType(), above, depth + 1));
            case UNION -> union(schema, above, depth);
            case RECORD -> record(schema, above, depth);
        };
    }

    private static DataType union(Schema schema, Set<String> above, int depth) {
        List<Schema> branches = branches(schema);
        if (branches.isEmpty()) {
            return DataTypes.STRING();
        }
        if (branches.size() == 1) {
            return type(branches.get(0), above, depth + 1);
        }
        return DataTypes.ROW(
                branches.stream()
                        .map(branch -> DataTypes.FIELD(branch.getName(), type(branch, above, depth + 1)))
                        .toList());
    }

    /** The branches of a union but null. */
    static List<Schema> branches(Schema union) {
        return union.getTypes().stream().filter(branch -> branch.getType() != Schema.Type.NULL).toList();
    }

    private static DataType record(Schema schema, Set<String> above, int depth) {
        if (!above.add(schema.getFullName())) {
            throw new ValidationException(
                    "The option 'schema' has a type that contains itself: " + schema.getFullName());
        }
        List<DataTypes.Field> fields = new ArrayList<>();
        for (Schema.Field field : schema.getFields()) {
            fields.add(DataTypes.FIELD(field.name(), type(field.schema(), above, depth + 1)));
        }
        above.remove(schema.getFullName());
        return DataTypes.ROW(fields);
    }

    /** How deep the definitions of a schema are nested; a named type is defined where it stands first. */
    static int depth(Schema schema) {
        return depth(schema, Collections.newSetFromMap(new IdentityHashMap<>()));
    }

    private static int depth(Schema schema, Set<Schema> defined) {
        List<Schema> inner =
                switch (schema.getType()) {
                    case ARRAY -> List.of(schema.getElementType());
                    case MAP -> List.of(schema.getValueType());
                    case UNION -> schema.getTypes();
                    case RECORD -> schema.getFields().stream().map(Schema.Field::schema).toList();
                    default -> List.of();
                };
        if (schema.getType() == Schema.Type.RECORD && !defined.add(schema)) {
            return 0;
        }
        int deepest = 0;
        for (Schema type : inner) {
            deepest = Math.max(deepest, 1 + depth(type, defined));
        }
        return deepest;
    }
}
