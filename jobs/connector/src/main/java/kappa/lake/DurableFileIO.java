package kappa.lake;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.hadoop.fs.FileSystem;
import org.apache.iceberg.hadoop.HadoopFileIO;
import org.apache.iceberg.io.InputFile;
import org.apache.iceberg.io.OutputFile;
import org.apache.iceberg.io.PositionOutputStream;

/**
 * Files of tables on a local file system, each of them on the disk when it is closed.
 *
 * <p>Hadoop leaves what it has written to the operating system, and the catalog does not: after a power cut the catalog
 * would name files that are empty. Other file systems are left as they are.
 */
public final class DurableFileIO extends HadoopFileIO {
    private static final long serialVersionUID = 1L;
    /** Folders whose own entry is on the disk, by what the file system knows them by. */
    private static final Set<Object> KNOWN = ConcurrentHashMap.newKeySet();

    @Override
    public OutputFile newOutputFile(String location) {
        OutputFile file = super.newOutputFile(location);
        org.apache.hadoop.fs.Path path = new org.apache.hadoop.fs.Path(location);
        try {
            FileSystem system = path.getFileSystem(getConf());
            return system.getScheme().equals("file") ? new DurableFile(file, Path.of(path.toUri().getPath())) : file;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Write a file, the checksum that Hadoop keeps beside it, and the names of both and of new folders to the disk. */
    static void sync(Path file) throws IOException {
        force(file, StandardOpenOption.WRITE);
        Path checksum = file.resolveSibling("." + file.getFileName() + ".crc");
        if (Files.exists(checksum)) {
            force(checksum, StandardOpenOption.WRITE);
        }
        Path folder = file.getParent();
        force(folder, StandardOpenOption.READ);
        while (folder.getParent() != null && KNOWN.add(key(folder))) {
            folder = folder.getParent();
            try {
                force(folder, StandardOpenOption.READ);
            } catch (AccessDeniedException e) {
                return; // a folder that is not ours to write to has no new entry of ours
            }
        }
    }

    private static Object key(Path folder) throws IOException {
        return Files.readAttributes(folder, BasicFileAttributes.class).fileKey();
    }

    private static void force(Path path, StandardOpenOption option) throws IOException {
        try (FileChannel channel = FileChannel.open(path, option)) {
            channel.force(true);
        }
    }

    private record DurableFile(OutputFile file, Path path) implements OutputFile {
        @Override
        public PositionOutputStream create() {
            return new DurableStream(file.create(), path);
        }

        @Override
        public PositionOutputStream createOrOverwrite() {
            return new DurableStream(file.createOrOverwrite(), path);
        }

        @Override
        public String location() {
            return file.location();
        }

        @Override
        public InputFile toInputFile() {
            return file.toInputFile();
        }
    }

    private static final class DurableStream extends PositionOutputStream {
        private final PositionOutputStream stream;
        private final Path path;
        private boolean closed;

        DurableStream(PositionOutputStream stream, Path path) {
            this.stream = stream;
            this.path = path;
        }

        @Override
        public long getPos() throws IOException {
            return stream.getPos();
        }

        @Override
        public long storedLength() throws IOException {
            return stream.storedLength();
        }

        @Override
        public void write(int b) throws IOException {
            stream.write(b);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            stream.write(bytes, offset, length);
        }

        @Override
        public void flush() throws IOException {
            stream.flush();
        }

        @Override
        public void close() throws IOException {
            if (closed) {
                return;
            }
            closed = true;
            stream.close();
            sync(path);
        }
    }
}
