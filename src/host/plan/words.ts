/** The arguments in a line for a program. No argument of ours has a space in it: interface names can't (ip-link(8)). */
export function words(line: string): string[] {
  return line.split(' ');
}
