package kappa.lines;

import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.RowType;

/** Writes rows into a folder, each subtask into a file of its own. */
final class Lines implements Sink<RowData> {

    private static final long serialVersionUID = 1L;

    private final String folder;
    private final RowType type;

    Lines(String folder, RowType type) {
        this.folder = folder;
        this.type = type;
    }

    @Override
    public SinkWriter<RowData> createWriter(WriterInitContext context) throws IOException {
        Path path = Path.of(folder);
        Files.createDirectories(path);
        return new Writer(
                Files.newBufferedWriter(path.resolve(context.getTaskInfo().getIndexOfThisSubtask() + ".jsonl")), type);
    }

    private record Writer(BufferedWriter file, RowType type) implements SinkWriter<RowData> {

        @Override
        public void write(RowData row, Context context) throws IOException {
            file.write(Json.of(row, type).toString());
            file.newLine();
        }

        @Override
        public void flush(boolean endOfInput) throws IOException {
            file.flush();
        }

        @Override
        public void close() throws IOException {
            file.close();
        }
    }
}
