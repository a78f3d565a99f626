/* A QEMU plugin that counts the AArch64 instructions a program executes, in all and by the kinds that matter to a
 * quantized network: dot products, widening integer multiply-adds, vector float multiply-adds, loads and stores.
 *
 *   gcc -shared -fPIC -O2 -Wall -o insn.so tools/insn.c
 *   qemu-aarch64 -cpu cortex-a76 -plugin ./insn.so,out=counts.txt PROGRAM
 *
 * Each time the program asks for the process group of process 0x494E534E, which there cannot be, the counts so far are
 * added to the file as a line: what lies between two such marks is counted without start and imports.
 *
 * Written for the plugin interface of QEMU 7.2 to 8.2, described in docs/devel/tcg-plugins.rst of QEMU. Distributions do
 * not ship qemu-plugin.h, so what is used of it is declared here. Encodings: Arm Architecture Reference Manual, C4.1. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *instruction);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*translated)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, enum qemu_plugin_op op, void *counter,
                                              uint64_t addend);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id id,
                                          void (*called)(plugin_id, unsigned vcpu, int64_t number, uint64_t a1,
                                                         uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
                                                         uint64_t a6, uint64_t a7, uint64_t a8));

/* An instruction is of the first kind with a row for which (word & mask) == value. Bit 30 (Q) is left open everywhere:
 * 64-bit and 128-bit vectors count alike. U (bit 29) is open where signed and unsigned forms do the same work. */
enum { ALL, DOT, INT_MLA, FLOAT_MLA, MEMORY, KINDS };
static const char *const names[KINDS] = {"all", "dot", "int_mla", "float_mla", "memory"};
static const struct { uint32_t mask, value; int kind; } rows[] = {
    {0x9FE0FC00, 0x0E809400, DOT},       /* SDOT, UDOT (vector) */
    {0x9FC0F400, 0x0F80E000, DOT},       /* SDOT, UDOT (by element) */
    {0x9F20FC00, 0x0E208000, INT_MLA},   /* SMLAL, UMLAL (vector) */
    {0x9F20FC00, 0x0E20C000, INT_MLA},   /* SMULL, UMULL (vector) */
    {0x9F00F400, 0x0F002000, INT_MLA},   /* SMLAL, UMLAL (by element) */
    {0x9F00F400, 0x0F00A000, INT_MLA},   /* SMULL, UMULL (by element) */
    {0xBFA0FC00, 0x0E20CC00, FLOAT_MLA}, /* FMLA (vector) */
    {0xBF80F400, 0x0F801000, FLOAT_MLA}, /* FMLA (by element) */
    {0x0A000000, 0x08000000, MEMORY},    /* all loads and stores */
};

enum { GETPGID = 155, MARK = 0x494E534E }; /* the system call's number on AArch64 */

static uint64_t counts[KINDS];
static char out[4096];

static int kind_of(uint32_t word) {
  for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)
    if ((word & rows[row].mask) == rows[row].value) return rows[row].kind;
  return ALL;
}

static void translated(plugin_id id, struct qemu_plugin_tb *block) {
  uint64_t found[KINDS] = {0};
  size_t length = qemu_plugin_tb_n_insns(block);
  (void)id;
  for (size_t at = 0; at < length; at++) {
    uint32_t word;
    memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, at)), sizeof word);
    found[kind_of(word)]++;
  }
  found[ALL] = length;
  for (int kind = 0; kind < KINDS; kind++)
    if (found[kind])
      qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &counts[kind], found[kind]);
}

static void called(plugin_id id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                   uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)vcpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if (number != GETPGID || a1 != MARK) return;
  FILE *file = fopen(out, "a");
  if (!file) {
    perror(out);
    return;
  }
  for (int kind = 0; kind < KINDS; kind++)
    fprintf(file, "%s %" PRIu64 "%c", names[kind], counts[kind], kind == KINDS - 1 ? '\n' : ' ');
  fclose(file);
}

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
  (void)info;
  if (argc != 1 || strncmp(argv[0], "out=", 4) || strlen(argv[0] + 4) >= sizeof out) {
    fprintf(stderr, "insn: expected one argument, out=FILE\n");
    return 1;
  }
  strcpy(out, argv[0] + 4);
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, called);
  return 0;
}
