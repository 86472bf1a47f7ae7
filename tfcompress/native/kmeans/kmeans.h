#ifndef TFC_KMEANS_H
#define TFC_KMEANS_H

#include <stdint.h>

#include "../status.h"

/* Optimal k-means in one dimension: cuts sorted points into num_clusters intervals,

     minimize  sum_c sum_{bounds[c] <= i < bounds[c+1]} weights[i] (values[i] -
   means[c])^2

   over all bounds, with means[c] the weighted mean of interval c. Exact up to float64
   rounding. Typically O(num_points log num_points) time; about 45 bytes per point.

   values   num_points numbers, strictly increasing, |value| <= 1e50.
   weights  num_points numbers > 0, <= 1e50: how often each value occurs.
   bounds   out, num_clusters + 1: 0 = bounds[0] < bounds[1] < ... = num_points.
   means    out, num_clusters, increasing.

   1 <= num_clusters <= num_points < 2^31.

   The cost of an interval has the Monge property (quadrangle inequality), so the optimal
   cost is convex in the number of clusters: with a suitable fee per cluster, found by
   search, the unconstrained optimum has the desired number. For one fee, the best cuts
   are the solution of a concave least-weight subsequence problem.

   Source: Gronlund, Larsen, Mathiasen, Nielsen, Schneider, Song, "Fast exact k-means,
   k-medians and Bregman divergence clustering in 1D" (2017), section 2.4; the queue of
   candidates is from Hirschberg, Larmore, "The least weight subsequence problem" (1987),
   the exchange of path ends from Aggarwal, Schieber, Tokuyama, "Finding a minimum-weight
   k-link path in graphs with the concave Monge property" (1994), lemma 3. */
TFC_API tfc_status tfc_kmeans(const double* values, const double* weights,
                              uint64_t num_points, uint64_t num_clusters,
                              uint32_t* bounds, double* means);

/* The index of the interval that contains each point: assignments[i] is the number of
   edges[e] <= points[i], with increasing edges. */
TFC_API void tfc_kmeans_assign(const float* points, uint64_t num_points,
                               const float* edges, uint64_t num_edges,
                               int32_t* assignments);

#endif
