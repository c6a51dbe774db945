/** The queue's name as people write it. */
export function queueLabel(queue) {
  return queue.charAt(0).toUpperCase() + queue.slice(1);
}
