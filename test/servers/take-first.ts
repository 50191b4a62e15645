/** Takes the first that fits out of a list, as scripts of faults do with theirs: each is played once, in order. */
export function takeFirst<Item>(list: Item[], fits: (item: Item) => boolean): Item | undefined {
  const index = list.findIndex(fits);
  return index === -1 ? undefined : list.splice(index, 1)[0];
}
