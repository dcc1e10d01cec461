package kappa.rows;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.UUID;
import org.apache.flink.api.connector.sink2.Committer;
import org.apache.flink.api.connector.sink2.CommitterInitContext;
import org.apache.flink.api.connector.sink2.CommittingSinkWriter;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.SupportsCommitter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.table.connector.RuntimeConverter;
import org.apache.flink.table.connector.sink.DynamicTableSink.DataStructureConverter;
import org.apache.flink.table.data.RowData;

/** Rows as lines of text. Those between two checkpoints become a file of one name however often they are committed. */
final class KeptRows implements Sink<RowData>, SupportsCommitter<String> {

    private static final long serialVersionUID = 1L;

    private final String folder;
    private final DataStructureConverter converter;

    KeptRows(String folder, DataStructureConverter converter) {
        this.folder = folder;
        this.converter = converter;
    }

    @Override
    public SinkWriter<RowData> createWriter(WriterInitContext context) {
        converter.open(RuntimeConverter.Context.create(context.getUserCodeClassLoader().asClassLoader()));
        return new Lines();
    }

    @Override
    public Committer<String> createCommitter(CommitterInitContext context) {
        return new Folder(folder);
    }

    @Override
    public SimpleVersionedSerializer<String> getCommittableSerializer() {
        return new Text();
    }

    private final class Lines implements CommittingSinkWriter<RowData, String> {

        private List<String> lines = new ArrayList<>();

        @Override
        public void write(RowData row, Context context) {
            lines.add(String.valueOf(converter.toExternal(row)).replace("\n", "\\n"));
        }

        @Override
        public void flush(boolean endOfInput) {}

        @Override
        public Collection<String> prepareCommit() {
            if (lines.isEmpty()) {
                return List.of();
            }
            String found = UUID.randomUUID() + "\n" + String.join("\n", lines) + "\n";
            lines = new ArrayList<>();
            return List.of(found);
        }

        @Override
        public void close() {}
    }

    /** A committable is the name of a file and, behind a line's end, what is in it. */
    private record Folder(String path) implements Committer<String> {

        @Override
        public void commit(Collection<CommitRequest<String>> requests) throws IOException, InterruptedException {
            for (CommitRequest<String> request : requests) {
                String[] parts = request.getCommittable().split("\n", 2);
                Path scratch = Files.createTempFile(Path.of(path), ".", ".part");
                Files.writeString(scratch, parts[1]);
                Files.move(scratch, Path.of(path, parts[0]), StandardCopyOption.ATOMIC_MOVE);
            }
        }

        @Override
        public void close() {}
    }

    private static final class Text implements SimpleVersionedSerializer<String> {

        @Override
        public int getVersion() {
            return 1;
        }

        @Override
        public byte[] serialize(String text) {
            return text.getBytes(StandardCharsets.UTF_8);
        }

        @Override
        public String deserialize(int version, byte[] bytes) {
            return new String(bytes, StandardCharsets.UTF_8);
        }
    }
}
