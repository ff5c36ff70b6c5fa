/* Begins a program on an emulated Cortex-M4: memory, the floating-point unit, and output by semihosting. */
extern int main(void);
extern void initialise_monitor_handles(void);
extern void _exit(int code);
extern unsigned memory_stack, memory_load, memory_data, memory_data_end, memory_zero, memory_zero_end;

void reset(void) {
  unsigned *to, *from = &memory_load;
  *(volatile unsigned *)0xE000ED88u |= 0xFu << 20;
  for (to = &memory_data; to < &memory_data_end;) *to++ = *from++;
  for (to = &memory_zero; to < &memory_zero_end;) *to++ = 0;
  initialise_monitor_handles();
  _exit(main());
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {&memory_stack, (const void *)reset};
