package kappa.patcher;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.ClassVisitor;
import org.objectweb.asm.ClassWriter;
import org.objectweb.asm.MethodVisitor;
import org.objectweb.asm.Opcodes;
import org.objectweb.asm.Type;

/**
 * Makes one compiled class call static methods of ours: {@code ClassPatcher IN.class OUT.class (KIND TARGET BY)…}
 *
 * <p>{@code method name(J)J our/Owner.ours}: the static method of this class answers what ours does.
 *
 * <p>{@code calls its/Owner.name(J)J our/Owner.ours}: calls of that static method in this class become calls of ours.
 *
 * <p>Our method has the descriptor of what it takes the place of. A replacement that finds nothing is an error.
 */
public final class ClassPatcher extends ClassVisitor {

    private final List<Replacement> replacements;

    private ClassPatcher(ClassVisitor next, List<Replacement> replacements) {
        super(Opcodes.ASM9, next);
        this.replacements = replacements;
    }

    public static void main(String[] args) throws IOException {
        List<Replacement> replacements = new ArrayList<>();
        for (int i = 2; i < args.length; i += 3) {
            replacements.add(new Replacement(args[i], args[i + 1], args[i + 2]));
        }
        Files.write(Path.of(args[1]), patched(Files.readAllBytes(Path.of(args[0])), replacements));
    }

    static byte[] patched(byte[] compiled, List<Replacement> replacements) {
        ClassReader reader = new ClassReader(compiled);
        ClassWriter writer = new ClassWriter(ClassWriter.COMPUTE_MAXS);
        reader.accept(new ClassPatcher(writer, replacements), 0);
        for (Replacement replacement : replacements) {
            if (!replacement.done) {
                throw new IllegalArgumentException(
                        "no static " + replacement.target + " in " + reader.getClassName());
            }
        }
        return writer.toByteArray();
    }

    @Override
    public MethodVisitor visitMethod(int access, String name, String descriptor, String signature, String[] thrown) {
        MethodVisitor method = super.visitMethod(access, name, descriptor, signature, thrown);
        Replacement body = find("method", name + descriptor);
        if (body != null && (access & Opcodes.ACC_STATIC) != 0) {
            body.done = true;
            answer(method, descriptor, body);
            return null; // without what stood there
        }
        return new MethodVisitor(Opcodes.ASM9, method) {
            @Override
            public void visitMethodInsn(int opcode, String owner, String called, String of, boolean isInterface) {
                Replacement call = opcode == Opcodes.INVOKESTATIC ? find("calls", owner + "." + called + of) : null;
                if (call == null) {
                    super.visitMethodInsn(opcode, owner, called, of, isInterface);
                } else {
                    call.done = true;
                    super.visitMethodInsn(opcode, call.owner(), call.method(), of, false);
                }
            }
        };
    }

    /** The whole body: return ours(all arguments). */
    private static void answer(MethodVisitor method, String descriptor, Replacement by) {
        method.visitCode();
        int slot = 0;
        for (Type argument : Type.getArgumentTypes(descriptor)) {
            method.visitVarInsn(argument.getOpcode(Opcodes.ILOAD), slot);
            slot += argument.getSize();
        }
        method.visitMethodInsn(Opcodes.INVOKESTATIC, by.owner(), by.method(), descriptor, false);
        method.visitInsn(Type.getReturnType(descriptor).getOpcode(Opcodes.IRETURN));
        method.visitMaxs(0, 0); // computed by the writer
        method.visitEnd();
    }

    private Replacement find(String kind, String target) {
        return replacements.stream()
                .filter(replacement -> replacement.kind.equals(kind) && replacement.target.equals(target))
                .findFirst()
                .orElse(null);
    }

    /** What is replaced, and by which static method. */
    static final class Replacement {

        private final String kind;
        private final String target;
        private final String by;
        private boolean done;

        Replacement(String kind, String target, String by) {
            this.kind = kind;
            this.target = target;
            this.by = by;
        }

        String owner() {
            return by.substring(0, by.lastIndexOf('.'));
        }

        String method() {
            return by.substring(by.lastIndexOf('.') + 1);
        }
    }
}
