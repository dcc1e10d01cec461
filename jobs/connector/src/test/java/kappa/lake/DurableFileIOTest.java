package kappa.lake;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.CatalogUtil;
import org.apache.iceberg.exceptions.AlreadyExistsException;
import org.apache.iceberg.io.FileIO;
import org.apache.iceberg.io.PositionOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DurableFileIOTest {
    @TempDir
    Path folder;

    private static FileIO io() {
        return CatalogUtil.loadFileIO("kappa.lake.DurableFileIO", Map.of(), new Configuration());
    }

    private static void write(PositionOutputStream stream, String text) throws IOException {
        try (stream) {
            stream.write(text.getBytes(StandardCharsets.UTF_8));
            stream.write('!');
            assertEquals(text.length() + 1, stream.getPos());
        }
        stream.close();
    }

    @Test
    void writesInNewFoldersAndReadsBack() throws IOException {
        Path file = folder.resolve("day=1/hour=2/part.parquet");
        write(io().newOutputFile(file.toUri().toString()).create(), "rows");
        assertEquals("rows!", Files.readString(file));
        assertEquals(5, io().newInputFile("file:" + file).getLength());
        assertTrue(Files.exists(file.resolveSibling(".part.parquet.crc")));
    }

    @Test
    void replacesAFileOnlyWhenAsked() throws IOException {
        String location = folder.resolve("a").toString();
        write(io().newOutputFile(location).create(), "one");
        assertThrows(AlreadyExistsException.class, () -> io().newOutputFile(location).create());
        write(io().newOutputFile(location).createOrOverwrite(), "two");
        assertEquals("two!", Files.readString(folder.resolve("a")));
    }

    @Test
    void syncsAFileWithItsFoldersAndSaysSoWhenItIsGone() throws IOException {
        Path file = Files.createDirectories(folder.resolve("x/y")).resolve("z");
        Files.writeString(file, "z");
        DurableFileIO.sync(file);
        Files.delete(file);
        assertThrows(NoSuchFileException.class, () -> DurableFileIO.sync(file));
    }

    @Test
    void goesWithTheTableToTheTaskManagers() throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
            out.writeObject(io());
        }
        FileIO there = (FileIO) new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray())).readObject();
        write(there.newOutputFile(folder.resolve("b").toString()).create(), "rows");
        assertEquals("rows!", Files.readString(folder.resolve("b")));
    }
}
