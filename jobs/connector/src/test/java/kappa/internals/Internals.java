package kappa.internals;

import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URL;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import org.objectweb.asm.AnnotationVisitor;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.ClassVisitor;
import org.objectweb.asm.FieldVisitor;
import org.objectweb.asm.Handle;
import org.objectweb.asm.MethodVisitor;
import org.objectweb.asm.Opcodes;
import org.objectweb.asm.Type;

/**
 * What the compiled connector relies on of Flink's that Flink does not promise to keep, read from the class files.
 *
 * <p>A class is internal that neither it nor a class around it is annotated with {@code @Public}, {@code @PublicEvolving}
 * or {@code @Experimental}, a member also where only its package sees it or it is annotated with {@code @Internal}. Of
 * libraries that Flink has shaded only the names of classes count.
 */
final class Internals {

    private static final String FLINK = "org/apache/flink/";
    /** What is named in a text only: a private field, which {@code Once} reads. */
    private static final String REFLECTED_IN =
            "org/apache/flink/table/runtime/generated/GeneratedWatermarkGeneratorSupplier$DefaultWatermarkGenerator";

    private static final String REFLECTED = "innerWatermarkGenerator: WatermarkGenerator";

    private final Map<String, byte[]> ours = new HashMap<>();
    private final Map<String, Compiled> known = new HashMap<>();
    private final Map<String, Set<String>> found = new TreeMap<>();

    private Internals() {}

    /** One of them: a class, or a member of it, and the connector's classes that rely on it. */
    record Internal(String type, String member, String users) {

        @Override
        public String toString() {
            return type + (member.isEmpty() ? "" : "  " + member) + "  <- " + users;
        }

        static Internal parse(String line) {
            String[] parts = line.split(" {2}<- ", 2);
            String[] of = parts[0].split(" {2}", 2);
            return new Internal(of[0], of.length > 1 ? of[1] : "", parts[1]);
        }
    }

    /** A member as it is written in the list: {@code new(int)}, {@code name(int): long}, {@code name: long}. */
    private record Member(String text, int access, boolean internal) {}

    /** What a class file says. */
    private static final class Compiled extends ClassVisitor {

        private final Map<String, Member> members = new HashMap<>();
        private final Set<String> annotations = new HashSet<>();
        private final List<String> parents = new ArrayList<>();

        Compiled(byte[] content) {
            super(Opcodes.ASM9);
            new ClassReader(content).accept(this, ClassReader.SKIP_CODE);
        }

        @Override
        public void visit(int version, int access, String name, String signature, String parent, String[] interfaces) {
            if (parent != null) {
                parents.add(parent);
            }
            parents.addAll(List.of(interfaces));
        }

        @Override
        public AnnotationVisitor visitAnnotation(String type, boolean visible) {
            annotations.add(type);
            return null;
        }

        @Override
        public FieldVisitor visitField(int access, String name, String type, String signature, Object value) {
            members.put(name, new Member(name + ": " + simple(Type.getType(type)), access, false));
            return null;
        }

        @Override
        public MethodVisitor visitMethod(
                int access, String name, String type, String signature, String[] exceptions) {
            members.put(name + type, new Member(written(name, type), access, false));
            return new MethodVisitor(Opcodes.ASM9) {
                @Override
                public AnnotationVisitor visitAnnotation(String annotation, boolean visible) {
                    if (annotation.endsWith("/Internal;")) {
                        members.put(name + type, new Member(written(name, type), access, true));
                    }
                    return null;
                }
            };
        }
    }

    /** All that the connector on the class path relies on; null where it is not on the class path. */
    static List<String> ofTheConnector() throws IOException {
        Internals internals = new Internals();
        URL url = Internals.class.getResource("/kappa/log/LogTableFactory.class");
        if (url == null) {
            return null;
        }
        try (JarFile jar = ((JarURLConnection) url.openConnection()).getJarFile()) {
            for (JarEntry entry : Collections.list(jar.entries())) {
                if (entry.getName().endsWith(".class")) {
                    String name = entry.getName().substring(0, entry.getName().length() - ".class".length());
                    internals.ours.put(name, jar.getInputStream(entry).readAllBytes());
                }
            }
        }
        internals.ours.forEach(internals::read);
        internals.note(REFLECTED_IN, REFLECTED, "kappa/log/Once");
        List<String> lines = new ArrayList<>();
        internals.found.forEach((what, users) -> lines.add(what + "  <- " + String.join(", ", users)));
        return lines;
    }

    /** The connector's classes that stand in packages of Flink's. */
    static Set<String> inPackagesOfFlink() throws IOException {
        Set<String> names = new TreeSet<>();
        URL url = Internals.class.getResource("/kappa/log/LogTableFactory.class");
        if (url != null) {
            try (JarFile jar = ((JarURLConnection) url.openConnection()).getJarFile()) {
                jar.stream().map(JarEntry::getName).filter(name -> name.startsWith(FLINK)).forEach(names::add);
            }
        }
        return names;
    }

    private void read(String self, byte[] content) {
        Compiled compiled = compiled(self);
        compiled.parents.forEach(parent -> type(parent, self));
        compiled.members.forEach(
                (key, member) -> {
                    if (key.contains("(") && !key.startsWith("<") && (member.access & Opcodes.ACC_STATIC) == 0) {
                        compiled.parents.forEach(parent -> member(parent, key, "overridden ", self));
                    }
                });
        new ClassReader(content).accept(new ClassVisitor(Opcodes.ASM9) {
            @Override
            public MethodVisitor visitMethod(int a, String n, String d, String s, String[] exceptions) {
                return new Code(self);
            }
        }, 0);
    }

    /** What the code of a method names. */
    private final class Code extends MethodVisitor {

        private final String self;

        Code(String self) {
            super(Opcodes.ASM9);
            this.self = self;
        }

        @Override
        public void visitMethodInsn(int opcode, String owner, String name, String type, boolean isInterface) {
            type(owner, self);
            member(owner, name + type, "", self);
        }

        @Override
        public void visitFieldInsn(int opcode, String owner, String name, String type) {
            type(owner, self);
            member(owner, name, "", self);
        }

        @Override
        public void visitTypeInsn(int opcode, String name) {
            type(name, self);
        }

        @Override
        public void visitInvokeDynamicInsn(String name, String type, Handle bootstrap, Object... arguments) {
            for (Object argument : arguments) {
                if (argument instanceof Handle handle) {
                    visitMethodInsn(0, handle.getOwner(), handle.getName(), handle.getDesc(), handle.isInterface());
                }
            }
        }
    }

    private void type(String name, String user) {
        if (isFlinks(name) && (isShaded(name) || isInternal(name))) {
            note(name, "", user);
        }
    }

    /** Notes a member where it is declared, if that is an internal of Flink's. */
    private void member(String owner, String key, String how, String user) {
        String declaring = declaring(owner, key);
        if (declaring == null || !isFlinks(declaring) || isShaded(declaring)) {
            return;
        }
        Member member = compiled(declaring).members.get(key);
        String visibility = visibility(member.access);
        if (member.internal || visibility.equals("package-private ") || isInternal(declaring)) {
            note(declaring, how + visibility + member.text, user);
        }
    }

    private static String visibility(int access) {
        if ((access & Opcodes.ACC_PUBLIC) != 0) {
            return "";
        }
        return (access & Opcodes.ACC_PROTECTED) != 0 ? "protected " : "package-private ";
    }

    /** The class, of this and those above it, that has a member; null if none of Flink's or ours does. */
    private String declaring(String owner, String key) {
        Compiled compiled = compiled(owner);
        if (compiled == null) {
            return null;
        }
        if (compiled.members.containsKey(key)) {
            return owner;
        }
        return compiled.parents.stream().map(parent -> declaring(parent, key)).filter(n -> n != null).findFirst().orElse(null);
    }

    private void note(String type, String member, String user) {
        String simple = user.substring(user.lastIndexOf('/') + 1).replaceAll("\\$.*", "");
        String what = type.replace('/', '.') + (member.isEmpty() ? "" : "  " + member);
        found.computeIfAbsent(what, key -> new TreeSet<>()).add(simple);
    }

    private boolean isFlinks(String name) {
        return name.startsWith(FLINK) && !ours.containsKey(name);
    }

    private static boolean isShaded(String name) {
        return name.contains("/shaded/");
    }

    private boolean isInternal(String name) {
        Compiled compiled = compiled(name);
        if (compiled == null || compiled.annotations.stream().anyMatch(a -> a.endsWith("/Internal;"))) {
            return true;
        }
        int outer = name.lastIndexOf('$');
        return compiled.annotations.stream().noneMatch(a -> a.matches(".*/annotation/(Public|PublicEvolving|Experimental);"))
                && (outer < 0 || isInternal(name.substring(0, outer)));
    }

    /** Null for classes that are neither Flink's nor ours. */
    private Compiled compiled(String name) {
        if (!ours.containsKey(name) && !name.startsWith(FLINK)) {
            return null;
        }
        if (!known.containsKey(name)) {
            known.put(name, load(name));
        }
        return known.get(name);
    }

    private Compiled load(String name) {
        try (InputStream in = Internals.class.getResourceAsStream("/" + name + ".class")) {
            return in == null ? null : new Compiled(ours.containsKey(name) ? ours.get(name) : in.readAllBytes());
        } catch (IOException e) {
            throw new IllegalStateException(name, e);
        }
    }

    private static String written(String name, String type) {
        List<String> parameters = new ArrayList<>();
        for (Type parameter : Type.getArgumentTypes(type)) {
            parameters.add(simple(parameter));
        }
        String of = "(" + String.join(", ", parameters) + ")";
        return name.equals("<init>") ? "new" + of : name + of + ": " + simple(Type.getReturnType(type));
    }

    private static String simple(Type type) {
        return type.getClassName().replaceAll(".*[.$]", "");
    }
}
