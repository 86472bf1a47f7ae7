#include "kmeans.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A sum over points: weight, weight * (value - center), weight * (value - center)^2. */
typedef struct {
  double weight, sum, square;
} Moments;

/* A position between points, `at` points from the left. */
typedef struct {
  Moments before; /* of the points of its piece to the left */
  double cost;    /* of the best cuts of all points to the left, including fees */
} Place;

/* Where a candidate for the start of a cluster becomes the best one. */
typedef struct {
  uint32_t start, from;
} Candidate;

/* Sorted points, in pieces. Moments are taken around the center of each piece: around a
   single center, rounding would hide the differences within clusters far from it. */
typedef struct {
  const double *values, *weights;
  uint32_t num_points;
  uint32_t num_pieces;
  uint32_t* piece_starts; /* num_pieces + 2: the last piece is empty, at num_points */
  double* centres;        /* num_pieces + 1 */
  Moments* pieces;        /* num_pieces + 1 */
  Place* places;          /* num_points + 1 */
  uint32_t* previous;     /* num_points + 1: start of the cluster that ends here */
  Candidate* queue;       /* num_points + 1 */
} Line;

/* A clustering: cuts[0] = 0 < ... < cuts[count] = num_points; optimal for the fee. */
typedef struct {
  uint32_t count;
  uint32_t* cuts;
  double cost, fee;
} Path;

static void add(Moments* moments, double weight, double distance) {
  moments->weight += weight;
  moments->sum += weight * distance;
  moments->square += weight * distance * distance;
}

static double mean_of(const Line* line, uint32_t begin, uint32_t end) {
  double origin = line->values[begin];
  Moments moments = {0};
  for (uint32_t i = begin; i < end; i++)
    add(&moments, line->weights[i], line->values[i] - origin);
  return origin + moments.sum / moments.weight;
}

static void free_pieces(Line* line) {
  free(line->piece_starts);
  free(line->centres);
  free(line->pieces);
}

static void free_line(Line* line) {
  free_pieces(line);
  free(line->places);
  free(line->previous);
  free(line->queue);
}

static int allocate_line(Line* line, const double* values, const double* weights,
                         uint32_t num_points) {
  size_t num_places = (size_t)num_points + 1;
  *line = (Line){.values = values, .weights = weights, .num_points = num_points};
  line->places = malloc(num_places * sizeof *line->places);
  line->previous = malloc(num_places * sizeof *line->previous);
  line->queue = malloc(num_places * sizeof *line->queue);
  return line->places && line->previous && line->queue;
}

/* Turns each interval between the cuts into a piece. */
static int cut_into_pieces(Line* line, uint32_t num_pieces, const uint32_t* cuts) {
  free_pieces(line);
  size_t count = (size_t)num_pieces + 2;
  line->num_pieces = num_pieces;
  line->piece_starts = malloc(count * sizeof *line->piece_starts);
  line->centres = calloc(count, sizeof *line->centres);
  line->pieces = calloc(count, sizeof *line->pieces);
  if (!line->piece_starts || !line->centres || !line->pieces) return 0;
  for (uint32_t p = 0; p < num_pieces; p++) {
    Moments moments = {0};
    double centre = mean_of(line, cuts[p], cuts[p + 1]);
    for (uint32_t i = cuts[p]; i < cuts[p + 1]; i++) {
      line->places[i].before = moments;
      add(&moments, line->weights[i], line->values[i] - centre);
    }
    line->piece_starts[p] = cuts[p];
    line->centres[p] = centre;
    line->pieces[p] = moments;
  }
  line->piece_starts[num_pieces] = line->num_points;
  line->piece_starts[num_pieces + 1] = line->num_points + 1;
  line->places[line->num_points].before = (Moments){0};
  return 1;
}

/* The piece that contains position `at`, searching from a nearby piece. */
static inline uint32_t piece_at(const Line* line, uint32_t at, uint32_t piece) {
  while (at >= line->piece_starts[piece + 1]) piece++;
  while (at < line->piece_starts[piece]) piece--;
  return piece;
}

static double spread(Moments m) {
  double squares = m.square - m.sum * m.sum / m.weight;
  return squares > 0 ? squares : 0;
}

/* Moments of [begin, end) across pieces, around the center of the first. */
static double cost_across(const Line* line, uint32_t begin, uint32_t first, uint32_t end,
                          uint32_t last) {
  Moments m = line->pieces[first], left = line->places[begin].before;
  m.weight -= left.weight;
  m.sum -= left.sum;
  m.square -= left.square;
  for (uint32_t p = first + 1; p <= last; p++) {
    const Moments* part = p < last ? &line->pieces[p] : &line->places[end].before;
    double shift = line->centres[p] - line->centres[first];
    m.weight += part->weight;
    m.sum += part->sum + shift * part->weight;
    m.square += part->square + shift * (2 * part->sum + shift * part->weight);
  }
  return spread(m);
}

/* Sum of squared distances from the mean of the points [begin, end), which lie in the
   pieces first..last. */
static inline double cost(const Line* line, uint32_t begin, uint32_t first, uint32_t end,
                          uint32_t last) {
  if (first != last) return cost_across(line, begin, first, end, last);
  const Moments *left = &line->places[begin].before, *right = &line->places[end].before;
  return spread((Moments){right->weight - left->weight, right->sum - left->sum,
                          right->square - left->square});
}

/* Whether a cluster up to `end` should start at `later` rather than at `earlier`. */
static inline int is_better(const Line* line, uint32_t later, uint32_t later_piece,
                            uint32_t earlier, uint32_t earlier_piece, uint32_t end,
                            uint32_t end_piece) {
  return line->places[later].cost + cost(line, later, later_piece, end, end_piece) <
         line->places[earlier].cost + cost(line, earlier, earlier_piece, end, end_piece);
}

/* Fills places[].cost and previous[]. By the Monge property, a later start that is better
   than an earlier one stays better for all later ends: the queue holds the starts that
   will be best somewhere, in order. */
static void find_starts(Line* line, double fee) {
  Candidate* queue = line->queue;
  size_t head = 0, tail = 0;
  uint32_t n = line->num_points, here = 0, ahead = 0, head_piece = 0, tail_piece = 0;
  queue[0] = (Candidate){.start = 1, .from = 0};
  line->places[0].cost = 0;
  for (uint32_t at = 1; at <= n; at++) {
    here = piece_at(line, at, here);
    while (head < tail && queue[head + 1].start <= at) head++;
    uint32_t from = queue[head].from;
    head_piece = piece_at(line, from, head_piece);
    line->places[at].cost =
        line->places[from].cost + cost(line, from, head_piece, at, here) + fee;
    line->previous[at] = from;
    if (at == n) return;

    for (; tail > head; tail--) {
      uint32_t start = queue[tail].start;
      tail_piece = piece_at(line, queue[tail].from, tail_piece);
      ahead = piece_at(line, start, ahead);
      if (!is_better(line, at, here, queue[tail].from, tail_piece, start, ahead)) break;
    }
    uint32_t rival = queue[tail].from;
    tail_piece = piece_at(line, rival, tail_piece);
    /* `at` is no better up to `worse`; doubles the step, then halves it. */
    uint32_t worse = queue[tail].start > at ? queue[tail].start : at;
    uint32_t better = n + 1, step = 1;
    while (better - worse > 1) {
      uint32_t room = better - worse - 1;
      uint32_t probe = worse + (better <= n   ? (better - worse) / 2
                                : step < room ? step
                                              : room);
      ahead = piece_at(line, probe, ahead);
      if (is_better(line, at, here, rival, tail_piece, probe, ahead)) {
        better = probe;
      } else {
        worse = probe;
        step = step > n / 2 ? n : 2 * step;
      }
    }
    if (better <= n) queue[++tail] = (Candidate){.start = better, .from = at};
  }
}

static double path_cost(const Line* line, const uint32_t* cuts, uint32_t count) {
  double total = 0;
  uint32_t first = 0, last = 0;
  for (uint32_t c = 0; c < count; c++) {
    last = piece_at(line, cuts[c + 1], first = last);
    total += cost(line, cuts[c], first, cuts[c + 1], last);
  }
  return total;
}

static int allocate_path(uint32_t count, double fee, Path* path) {
  *path = (Path){.count = count, .fee = fee};
  path->cuts = malloc(((size_t)count + 1) * sizeof *path->cuts);
  return path->cuts != NULL;
}

static int copy_path(const Path* path, Path* copy) {
  if (!allocate_path(path->count, path->fee, copy)) return 0;
  memcpy(copy->cuts, path->cuts, ((size_t)path->count + 1) * sizeof *copy->cuts);
  return 1;
}

static int shortest_path(Line* line, double fee, Path* path) {
  find_starts(line, fee);
  uint32_t count = 0, at = line->num_points;
  for (; at; at = line->previous[at]) count++;
  if (!allocate_path(count, fee, path)) return 0;
  at = line->num_points;
  for (uint32_t c = count; c; c--, at = line->previous[at]) path->cuts[c] = at;
  path->cuts[0] = 0;
  path->cost = path_cost(line, path->cuts, count);
  return 1;
}

/* The end points of the search: one cluster, or one per point. */
static int extreme_path(const Line* line, uint32_t count, double fee, Path* path) {
  if (!allocate_path(count, fee, path)) return 0;
  for (uint32_t c = 0; c < count; c++) path->cuts[c] = c;
  path->cuts[count] = line->num_points;
  path->cost = path_cost(line, path->cuts, count);
  return 1;
}

static int cheapest_path(Line* line, double fee, double widest, Path* path) {
  double smallest = fmax(widest * 1e-60, DBL_MIN);
  if (fee <= smallest) return extreme_path(line, line->num_points, smallest, path);
  if (fee >= widest) return extreme_path(line, 1, widest, path);
  return shortest_path(line, fee, path);
}

/* A path with `count` clusters from one with fewer and one with more, all optimal for one
   fee. A cluster of `few` covers the cluster of `many` that is `excess` places later: the
   path switches from one to the other there. By the Monge property that costs nothing. */
static int change_over(const Line* line, const Path* few, const Path* many,
                       uint32_t count, Path* path) {
  uint32_t excess = many->count - count, c = 0;
  if (!allocate_path(count, many->fee, path)) return 0;
  while (few->cuts[c + 1] <= many->cuts[c + 1 + excess]) c++;
  memcpy(path->cuts, few->cuts, ((size_t)c + 1) * sizeof *path->cuts);
  memcpy(path->cuts + c + 1, many->cuts + c + 1 + excess,
         ((size_t)count - c) * sizeof *path->cuts);
  path->cost = path_cost(line, path->cuts, count);
  return 1;
}

/* In a narrow bracket, the fee for `count` if it is a power of the number of clusters, as
   for smooth densities. A wide bracket is halved instead. */
static double fee_between(const Path* few, const Path* many, uint32_t count) {
  double share = 0.5;
  if (few->fee < 16 * many->fee)
    share = log((double)count / few->count) / log((double)many->count / few->count);
  return few->fee * pow(many->fee / few->fee, share);
}

/* Narrows the bracket (few, many) until the fee for `count` clusters is found or proved
   to fall between the two. `fee` is a first guess or 0. */
static int narrow(Line* line, uint32_t count, double fee, Path* few, Path* many,
                  Path* found) {
  double widest = path_cost(line, (uint32_t[]){0, line->num_points}, 1) + DBL_MIN;
  double factor = fee > 0 ? 1 + 4.0 / count : 2;
  int is_slope = 0;
  /* Between a uniform density (2) and a normal one (5.4). */
  if (fee <= 0) fee = 4 * widest / ((double)count * count * count);
  for (;;) {
    if (!cheapest_path(line, fee, widest, found)) return 0;
    if (found->count == count) return 1;
    Path* end = found->count < count ? few : many;
    int is_nearer = !end->cuts ||
                    (end == few ? found->count > few->count : found->count < many->count);
    if (is_nearer) {
      free(end->cuts);
      *end = *found;
    } else {
      end->fee = found->fee;
      free(found->cuts);
    }
    *found = (Path){0};
    /* With the slope as the fee, `few` and `many` cost the same, and a cheaper path in
       between would have been found. */
    if (is_slope && !is_nearer) return change_over(line, few, many, count, found);
    if (few->cuts && many->cuts) {
      is_slope = !is_slope && few->fee < 16 * many->fee;
      fee = is_slope ? (few->cost - many->cost) / (many->count - few->count)
                     : fee_between(few, many, count);
      continue;
    }
    fee = few->cuts ? few->fee / factor : many->fee * factor;
    factor *= factor;
  }
}

/* The optimal path with `count` clusters; starts from the fee and cuts of `path`. */
static int improve(Line* line, uint32_t count, Path* path) {
  Path few = {0}, many = {0}, found = {0};
  int has_memory = cut_into_pieces(line, path->count, path->cuts) &&
                   narrow(line, count, path->fee, &few, &many, &found);
  free(few.cuts);
  free(many.cuts);
  free(path->cuts);
  *path = found;
  return has_memory;
}

/* Starts from a single piece. Later rounds use clusters as pieces, so that clusters
   within distant clusters are distinguished in spite of rounding. */
static int solve(Line* line, uint32_t count, Path* path) {
  if (!allocate_path(1, 0, path)) return 0;
  path->cuts[0] = 0;
  path->cuts[1] = line->num_points;
  for (int round = 0; round < 3; round++)
    if (!improve(line, count, path)) return 0;
  return 1;
}

/* The integral of density(x)^(1/3) dx over the points [begin, end), as if it were
 * uniform. */
static double cluster_share(const Line* line, uint32_t begin, uint32_t end) {
  uint32_t next = end < line->num_points ? end : end - 1;
  double weight = 0, width = line->values[next] - line->values[begin];
  for (uint32_t i = begin; i < end; i++) weight += line->weights[i];
  return cbrt(weight * width * width);
}

/* Joins neighbors into at most num_groups + 1 groups with about equal shares of the
   clusters, whose density is that of density^(1/3) (Panter, Dite 1951). */
static uint32_t join(const Line* line, uint32_t num_groups, uint32_t* starts) {
  uint32_t n = line->num_points, stride = n / num_groups / 16 + 1, count = 1;
  double total = 0, sum = 0;
  for (uint32_t begin = 0; begin < n; begin += stride)
    total += cluster_share(line, begin, n - begin > stride ? begin + stride : n);
  starts[0] = 0;
  for (uint32_t begin = 0, end; total > 0 && begin < n; begin = end) {
    end = n - begin > stride ? begin + stride : n;
    double before = floor(sum);
    sum += cluster_share(line, begin, end) / total * num_groups;
    uint32_t parts = (uint32_t)(floor(sum) - before), size = end - begin;
    if (parts > size) parts = size;
    for (uint32_t p = 0; p < parts && count <= num_groups; p++) {
      uint32_t start = begin + (uint32_t)((uint64_t)size * p / parts);
      if (start) starts[count++] = start;
    }
  }
  return count;
}

/* The middle of the fees for which `count` clusters are optimal. */
static int middle_fee(Line* line, uint32_t count, const Path* path, double* fee) {
  Path fewer = {0}, more = {0};
  int has_memory = copy_path(path, &fewer) && copy_path(path, &more) &&
                   improve(line, count - 1, &fewer) && improve(line, count + 1, &more);
  *fee = (fewer.cost - more.cost) / 2;
  free(fewer.cuts);
  free(more.cuts);
  return has_memory;
}

/* Solves for the means of groups of neighbors. Leaves `path` empty if there would be too
   few groups to be useful. */
static int solve_coarsely(const Line* line, uint32_t num_groups, uint32_t count,
                          Path* path) {
  Line groups = {0};
  uint32_t* starts = malloc(((size_t)num_groups + 2) * sizeof *starts);
  double* values = malloc(((size_t)num_groups + 1) * sizeof *values);
  double* weights = malloc(((size_t)num_groups + 1) * sizeof *weights);
  int has_memory = starts && values && weights;
  uint32_t n = has_memory ? join(line, num_groups, starts) : 0;
  if (n > count + 1) {
    starts[n] = line->num_points;
    for (uint32_t g = 0; g < n; g++) {
      values[g] = mean_of(line, starts[g], starts[g + 1]);
      weights[g] = 0;
      for (uint32_t i = starts[g]; i < starts[g + 1]; i++) weights[g] += line->weights[i];
    }
    has_memory = allocate_line(&groups, values, weights, n) &&
                 solve(&groups, count, path) &&
                 middle_fee(&groups, count, path, &path->fee);
    for (uint32_t c = 0; has_memory && c <= count; c++)
      path->cuts[c] = starts[path->cuts[c]];
    free_line(&groups);
  }
  free(starts);
  free(values);
  free(weights);
  return has_memory;
}

static int are_valid(const double* values, const double* weights, uint64_t num_points,
                     uint64_t num_clusters) {
  if (num_clusters < 1 || num_clusters > num_points || num_points > INT32_MAX) return 0;
  for (uint64_t i = 0; i < num_points; i++) {
    if (!(fabs(values[i]) <= 1e50 && weights[i] > 0 && weights[i] <= 1e50)) return 0;
    if (i && !(values[i] > values[i - 1])) return 0;
  }
  return 1;
}

/* With many points, the clusters of groups of them serve as pieces and provide the fee,
   so that few passes over all points remain, usually one. */
static int solve_any(Line* line, uint32_t count, Path* path) {
  uint64_t num_groups = 128 * (uint64_t)count + 4096;
  if (count > 1 && line->num_points > 4 * num_groups) {
    if (!solve_coarsely(line, (uint32_t)num_groups, count, path)) return 0;
    if (path->cuts) return improve(line, count, path);
  }
  return solve(line, count, path);
}

tfc_status tfc_kmeans(const double* values, const double* weights, uint64_t num_points,
                      uint64_t num_clusters, uint32_t* bounds, double* means) {
  if (!are_valid(values, weights, num_points, num_clusters)) return TFC_CORRUPT;
  Line line;
  Path path = {0};
  int has_memory = allocate_line(&line, values, weights, (uint32_t)num_points) &&
                   solve_any(&line, (uint32_t)num_clusters, &path);
  if (has_memory) {
    memcpy(bounds, path.cuts, ((size_t)num_clusters + 1) * sizeof *bounds);
    for (uint32_t c = 0; c < num_clusters; c++)
      means[c] = mean_of(&line, bounds[c], bounds[c + 1]);
  }
  free(path.cuts);
  free_line(&line);
  return has_memory ? TFC_OK : TFC_NO_MEMORY;
}

void tfc_kmeans_assign(const float* points, uint64_t num_points, const float* edges,
                       uint64_t num_edges, int32_t* assignments) {
  for (uint64_t i = 0; i < num_points; i++) {
    uint32_t below = 0, size = (uint32_t)num_edges;
    /* No branch depends on the point, so the processor can overlap the searches. */
    while (size > 1) {
      uint32_t half = size / 2;
      below += half * (edges[below + half - 1] <= points[i]);
      size -= half;
    }
    if (size) below += edges[below] <= points[i];
    assignments[i] = (int32_t)below;
  }
}
